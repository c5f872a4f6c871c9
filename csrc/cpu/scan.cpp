#include "ops/scan.h"

#include <limits>
#include <numeric>

#include "cpu/blocks.h"

namespace motifkit::cpu {
namespace {

constexpr int64_t kManyPositions = int64_t{1} << 20;

// One lane is one filter on one strand, cut to the columns that are not zero. Narrow motifs in a wide weight
// tensor then cost what their own width asks for: lanes of like extent share a block.
template <typename T>
class Lanes {
 public:
  Lanes(const ConvShape& conv, const T* weight, Strands strands) : width_(conv.width) {
    const int64_t size = 4 * width_;
    for (const int strand : {1, -1}) {
      if ((static_cast<int>(strands) & (strand > 0 ? 1 : 2)) == 0) continue;
      for (int64_t f = 0; f < conv.filters; ++f) add(weight + f * size, f, strand);
    }
    std::vector<int64_t> order(filter_.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      const int64_t extent_a = end_[a] - begin_[a], extent_b = end_[b] - begin_[b];
      return strand_[a] != strand_[b] ? strand_[a] > strand_[b] : extent_a < extent_b;
    });
    permute(order, filter_), permute(order, strand_), permute(order, begin_), permute(order, end_);
    weight_.resize(order.size() * size);
    for (size_t lane = 0; lane < order.size(); ++lane)
      std::copy_n(unsorted_.data() + order[lane] * size, size, weight_.data() + lane * size);
    unsorted_.clear();
  }

  int64_t count() const { return static_cast<int64_t>(filter_.size()); }
  int64_t filter(int64_t lane) const { return filter_[lane]; }
  int8_t strand(int64_t lane) const { return static_cast<int8_t>(strand_[lane]); }
  const T* weight(int64_t lane) const { return weight_.data() + lane * 4 * width_; }
  // Columns that some of `live` lanes from `first` on use; never empty.
  std::pair<int64_t, int64_t> columns(int64_t first, int64_t live) const {
    const int64_t begin = *std::min_element(begin_.begin() + first, begin_.begin() + first + live);
    return {begin, *std::max_element(end_.begin() + first, end_.begin() + first + live)};
  }

 private:
  void add(const T* weight, int64_t filter, int strand) {
    const size_t at = unsorted_.size();
    unsorted_.resize(at + 4 * width_);
    int64_t begin = width_ - 1, end = 1;
    for (int letter = 0; letter < 4; ++letter)
      for (int64_t k = 0; k < width_; ++k) {
        const T value =
            strand > 0 ? weight[letter * width_ + k] : weight[(3 - letter) * width_ + width_ - 1 - k];
        unsorted_[at + letter * width_ + k] = value;
        if (value == 0) continue;
        begin = std::min(begin, k);
        end = std::max(end, k + 1);
      }
    filter_.push_back(filter), strand_.push_back(strand);
    begin_.push_back(std::min(begin, end - 1)), end_.push_back(end);
  }
  static void permute(const std::vector<int64_t>& order, std::vector<int64_t>& values) {
    std::vector<int64_t> out(values.size());
    for (size_t i = 0; i < order.size(); ++i) out[i] = values[order[i]];
    values.swap(out);
  }

  int64_t width_;
  std::vector<int64_t> filter_, strand_, begin_, end_;
  std::vector<T> weight_, unsorted_;
};

// Tables of one block of lanes. The length of their words does not depend on how many sequences are scanned,
// so that scores do not depend on how sequences are shared between batches.
template <typename T>
struct ScanBlock {
  ScanBlock(const Lanes<T>& lanes, const ConvShape& conv, int64_t first, int64_t live, int width)
      : columns(lanes.columns(first, live)),
        shift(columns.first - conv.pad_left),
        tables(columns.second - columns.first,
               choose_chunk<T>(columns.second - columns.first, kManyPositions, false)) {
    T ones[kBlockLanes];
    std::fill_n(ones, kBlockLanes, T(1));
    tables.build(lanes.weight(first), live, width, conv.width, columns.first, ones);
  }
  std::pair<int64_t, int64_t> columns;
  int64_t shift;  // from a window's position to the first letter the tables read
  BlockTables<T> tables;
};

// Sequences cut into spans of windows. Long spans let `best` look for positions only where the maximum rises.
struct Spans {
  Spans(const ConvShape& conv, int64_t most)
      : windows(most), length(conv.out_length()), per_sequence((length + windows - 1) / windows) {}
  int64_t begin(int64_t span) const { return span * windows; }
  int64_t end(int64_t span) const { return std::min(length, (span + 1) * windows); }
  int64_t windows, length, per_sequence;
};

}  // namespace

template <typename T>
void scan(const ScanParams<T>& p) {
  const Lanes<T> lanes(p.conv, p.weight, p.strands);
  const Blocks blocks(lanes.count());
  const Spans spans(p.conv, int64_t{1} << 18);
  const int64_t units = p.conv.batch * spans.per_sequence, padded = blocks.padded();
  const auto value = allocate<T>(units * padded);
  const auto position = allocate<int32_t>(units * padded);
  parallel_for(p.threads, blocks.count() * units, [&](int64_t begin, int64_t end) {
    WordBuffer buffer(kTilePositions, p.conv.width);
    for (int64_t unit = begin; unit < end;) {
      const int64_t block = unit / units, first = blocks.first(block);
      const ScanBlock<T> tables(lanes, p.conv, first, blocks.live(block), blocks.lanes(block));
      for (; unit < std::min(end, (block + 1) * units); ++unit) {
        const int64_t at = unit % units, sequence = at / spans.per_sequence, span = at % spans.per_sequence;
        for (int64_t from = spans.begin(span); from < spans.end(span); from += kTilePositions) {
          const int64_t to = std::min(from + kTilePositions, spans.end(span));
          const Words words = buffer.fill(p.codes + sequence * p.codes_stride, p.conv.length, from, to,
                                          tables.shift, tables.tables);
          kernels<T>().best(tables.tables.get(), words, from, to, from == spans.begin(span),
                            value.get() + at * padded + first, position.get() + at * padded + first);
        }
      }
    }
  });
  parallel_for(units * padded < 65536 ? 1 : p.threads, p.conv.batch, [&](int64_t begin, int64_t end) {
    for (int64_t sequence = begin; sequence < end; ++sequence) {
      T* score = p.score + sequence * p.conv.filters;
      int64_t* where = p.position + sequence * p.conv.filters;
      int8_t* strand = p.strand + sequence * p.conv.filters;
      std::fill_n(where, p.conv.filters, std::numeric_limits<int64_t>::max());  // nothing seen yet
      for (int64_t lane = 0; lane < lanes.count(); ++lane) {  // all forward lanes come first
        const int64_t f = lanes.filter(lane);
        for (int64_t span = 0; span < spans.per_sequence; ++span) {
          const int64_t at = (sequence * spans.per_sequence + span) * padded + lane;
          const bool unseen = where[f] == std::numeric_limits<int64_t>::max();
          const bool better = value[at] > score[f] || (value[at] == score[f] && position[at] < where[f]);
          if (!unseen && !better) continue;
          score[f] = value[at];
          where[f] = position[at];
          strand[f] = lanes.strand(lane);
        }
      }
      for (int64_t f = 0; f < p.conv.filters; ++f) {
        where[f] -= p.conv.pad_left;
        if (p.bias != nullptr) score[f] += p.bias[f];
      }
    }
  });
}

template <typename T>
int64_t scan_floor(const ScanParams<T>& p, int64_t repeats) {
  const Lanes<T> lanes(p.conv, p.weight, p.strands);
  const Blocks blocks(lanes.count());
  WordBuffer buffer(kTilePositions, p.conv.width);
  const int64_t end = std::min(kTilePositions, p.conv.out_length());
  std::fill_n(p.score, p.conv.filters, -std::numeric_limits<T>::infinity());
  for (int64_t block = 0; block < blocks.count(); ++block) {
    const int64_t first = blocks.first(block), live = blocks.live(block);
    const ScanBlock<T> tables(lanes, p.conv, first, live, blocks.lanes(block));
    const Words words = buffer.fill(p.codes, p.conv.length, 0, end, tables.shift, tables.tables);
    T total[kBlockLanes];
    std::fill_n(total, kBlockLanes, -std::numeric_limits<T>::infinity());
    for (int64_t i = 0; i < repeats; ++i) kernels<T>().look_up(tables.tables.get(), words, 0, end, total);
    for (int64_t i = 0; i < live; ++i) {
      T& score = p.score[lanes.filter(first + i)];
      score = std::max(score, total[i]);
    }
  }
  return end;
}

namespace {

template <typename T>
struct Hit {
  int32_t filter;
  int32_t position;  // in windows, from the first
  T score;
  int8_t strand;
};

template <typename T>
bool in_order(const Hit<T>& a, const Hit<T>& b) {
  if (a.filter != b.filter) return a.filter < b.filter;
  return a.position != b.position ? a.position < b.position : a.strand > b.strand;
}

// Puts hits in order. They come filter by filter and strand by strand in order of position: many are dealt
// out to their filters, which leaves at most the two strands of each to be merged.
template <typename T>
void put_in_order(std::vector<Hit<T>>& hits, int64_t filters, bool both_strands) {
  if (static_cast<int64_t>(hits.size()) < filters) {
    std::sort(hits.begin(), hits.end(), in_order<T>);
    return;
  }
  std::vector<size_t> next(filters + 1, 0);
  for (const Hit<T>& hit : hits) ++next[hit.filter + 1];
  std::partial_sum(next.begin(), next.end(), next.begin());
  std::vector<Hit<T>> dealt(hits.size());
  for (const Hit<T>& hit : hits) dealt[next[hit.filter]++] = hit;  // next[f] ends where filter f + 1 begins
  if (both_strands)
    for (int64_t f = 0; f < filters; ++f)
      std::sort(dealt.begin() + (f == 0 ? 0 : next[f - 1]), dealt.begin() + next[f], in_order<T>);
  hits.swap(dealt);
}

// Keeps the `most` best hits of each filter, the earliest where scores tie. `hits` is in order and stays so.
template <typename T>
void keep_best(std::vector<Hit<T>>& hits, int64_t most) {
  std::vector<Hit<T>> kept;
  for (size_t begin = 0, end; begin < hits.size(); begin = end) {
    for (end = begin; end < hits.size() && hits[end].filter == hits[begin].filter;) ++end;
    const auto first = hits.begin() + begin, last = hits.begin() + end;
    if (static_cast<int64_t>(end - begin) > most) {
      std::stable_sort(first, last, [](const Hit<T>& a, const Hit<T>& b) { return a.score > b.score; });
      std::sort(first, first + most, in_order<T>);
      kept.insert(kept.end(), first, first + most);
    } else {
      kept.insert(kept.end(), first, last);
    }
  }
  hits.swap(kept);
}

}  // namespace

template <typename T>
int64_t scan_hits(const ScanHitsParams<T>& p) {
  const Lanes<T> lanes(p.conv, p.weight, p.strands);
  const Blocks blocks(lanes.count());
  // A share is a run of sequences, or of windows of a long one; each thread takes every block over its
  // shares.
  const Spans spans(p.conv, int64_t{1} << 16);
  const int64_t units = p.conv.batch * spans.per_sequence;
  std::vector<std::vector<Hit<T>>> found(units);
  parallel_for(p.threads, units, [&](int64_t begin, int64_t end) {
    WordBuffer buffer(kTilePositions, p.conv.width);
    constexpr int64_t kStep = 256;  // windows whose hits are taken out at once
    const auto lane = allocate<int32_t>(kStep * kBlockLanes),
               position = allocate<int32_t>(kStep * kBlockLanes);
    const auto score = allocate<T>(kStep * kBlockLanes);
    for (int64_t block = 0; block < blocks.count(); ++block) {
      const int64_t first = blocks.first(block), live = blocks.live(block);
      const ScanBlock<T> tables(lanes, p.conv, first, live, blocks.lanes(block));
      T bias[kBlockLanes], bar[kBlockLanes];
      for (int i = 0; i < kBlockLanes; ++i) {
        const int64_t f = i < live ? lanes.filter(first + i) : 0;
        bias[i] = i < live && p.bias != nullptr ? p.bias[f] : 0;
        // Below the threshold by the rounding of bias + score; the sum itself is compared when it is taken
        // out.
        const T wanted = i < live ? p.threshold[f] - bias[i] : std::numeric_limits<T>::infinity();
        const T slack = (std::abs(wanted) + std::abs(bias[i])) * 2 * std::numeric_limits<T>::epsilon();
        bar[i] = bias[i] == 0 || !(slack < std::numeric_limits<T>::infinity()) ? wanted : wanted - slack;
      }
      for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t sequence = unit / spans.per_sequence, span = unit % spans.per_sequence;
        for (int64_t from = spans.begin(span); from < spans.end(span); from += kTilePositions) {
          const int64_t to = std::min(from + kTilePositions, spans.end(span));
          const Words words = buffer.fill(p.codes + sequence * p.codes_stride, p.conv.length, from, to,
                                          tables.shift, tables.tables);
          for (int64_t step = from; step < to; step += kStep) {
            const int64_t count =
                kernels<T>().hits(tables.tables.get(), words, step, std::min(step + kStep, to), bar,
                                  lane.get(), position.get(), score.get());
            for (int64_t i = 0; i < count; ++i) {
              const int64_t f = lanes.filter(first + lane[i]);
              const T total = score[i] + bias[lane[i]];
              if (total > p.threshold[f])
                found[unit].push_back(
                    {static_cast<int32_t>(f), position[i], total, lanes.strand(first + lane[i])});
            }
          }
        }
      }
    }
    for (int64_t unit = begin; unit < end; ++unit)
      put_in_order(found[unit], p.conv.filters, p.strands == Strands::kBoth);
  });
  std::vector<int64_t> start(p.conv.batch + 1, 0);
  for (int64_t sequence = 0; sequence < p.conv.batch; ++sequence) {
    auto& whole = found[sequence * spans.per_sequence];
    for (int64_t span = 1; span < spans.per_sequence; ++span) {
      auto& next = found[sequence * spans.per_sequence + span];
      whole.insert(whole.end(), next.begin(), next.end());
      std::vector<Hit<T>>().swap(next);
    }
    if (spans.per_sequence > 1) std::sort(whole.begin(), whole.end(), in_order<T>);
    if (p.max_per_sequence > 0) keep_best(whole, p.max_per_sequence);
    start[sequence + 1] = start[sequence] + static_cast<int64_t>(whole.size());
  }
  const int64_t total = start[p.conv.batch];
  if (total > p.capacity) return total;
  parallel_for(total < 65536 ? 1 : p.threads, p.conv.batch, [&](int64_t begin, int64_t end) {
    for (int64_t sequence = begin; sequence < end; ++sequence) {
      int64_t at = start[sequence];
      for (const Hit<T>& hit : found[sequence * spans.per_sequence]) {
        p.sequence[at] = sequence;
        p.filter[at] = hit.filter;
        p.position[at] = hit.position - p.conv.pad_left;
        p.strand[at] = hit.strand;
        p.score[at++] = hit.score;
      }
    }
  });
  return total;
}

template int64_t scan_floor<float>(const ScanParams<float>&, int64_t);
template int64_t scan_floor<double>(const ScanParams<double>&, int64_t);
template void scan<float>(const ScanParams<float>&);
template void scan<double>(const ScanParams<double>&);
template int64_t scan_hits<float>(const ScanHitsParams<float>&);
template int64_t scan_hits<double>(const ScanHitsParams<double>&);

}  // namespace motifkit::cpu
