#include "ops/scan.h"

#include <limits>
#include <optional>

#include "cpu/scan_blocks.h"

namespace motifkit::cpu {

template <typename T>
void scan(const ScanParams<T>& p) {
  const Lanes<T> lanes(p.conv, p.weight, p.strands);
  const Blocks blocks(lanes.count());
  const Spans spans(p.conv,
                    int64_t{1} << 18);  // long: `best` looks for positions only where the maximum rises
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

template <typename T>
void scan_summary(const ScanSummaryParams<T>& p) {
  constexpr T kInfinity = std::numeric_limits<T>::infinity();
  const auto& k = kernels<T>();
  const Lanes<T> lanes(p.conv, p.weight, p.strands);
  const Blocks blocks(lanes.count());
  const Spans spans(p.conv, kTilePositions);
  const int64_t units = p.conv.batch * spans.per_sequence, padded = blocks.padded();
  const int64_t groups = sum_groups(p.conv.batch * p.conv.out_length(), units);
  std::vector<T> largest(groups * padded, -kInfinity);
  std::vector<double> total(groups * padded);
  parallel_for(p.threads, blocks.count() * groups, [&](int64_t begin, int64_t end) {
    WordBuffer buffer(kTilePositions, p.conv.width);
    std::optional<ScanBlock<T>> tables;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t block = task / groups, group = task % groups, first = blocks.first(block);
      const int64_t live = blocks.live(block), at = group * padded + first;
      if (group == 0 || task == begin) tables.emplace(lanes, p.conv, first, live, blocks.lanes(block));
      T bias[kBlockLanes] = {};
      for (int64_t i = 0; i < live && p.bias != nullptr; ++i) bias[i] = p.bias[lanes.filter(first + i)];
      for (int64_t unit = units * group / groups; unit < units * (group + 1) / groups; ++unit) {
        const int64_t from = spans.begin(unit % spans.per_sequence),
                      to = spans.end(unit % spans.per_sequence);
        const Words words = buffer.fill(p.codes + unit / spans.per_sequence * p.codes_stride, p.conv.length,
                                        from, to, tables->shift, tables->tables);
        if (p.total == nullptr)
          k.look_up(tables->tables.get(), words, from, to, largest.data() + at);
        else
          k.summarise(tables->tables.get(), words, from, to, bias, p.relu ? T(0) : -kInfinity,
                      largest.data() + at, total.data() + at);
      }
    }
  });
  std::fill_n(p.largest, p.conv.filters, -kInfinity);
  if (p.total != nullptr) std::fill_n(p.total, p.conv.filters, 0.0);
  for (int64_t group = 0; group < groups; ++group)
    for (int64_t lane = 0; lane < lanes.count(); ++lane) {
      const int64_t f = lanes.filter(lane);
      p.largest[f] = std::max(p.largest[f], largest[group * padded + lane]);
      if (p.total != nullptr) p.total[f] += total[group * padded + lane];
    }
  for (int64_t f = 0; f < p.conv.filters && p.bias != nullptr; ++f) p.largest[f] += p.bias[f];
}

template void scan_summary<float>(const ScanSummaryParams<float>&);
template void scan_summary<double>(const ScanSummaryParams<double>&);
template int64_t scan_floor<float>(const ScanParams<float>&, int64_t);
template int64_t scan_floor<double>(const ScanParams<double>&, int64_t);
template void scan<float>(const ScanParams<float>&);
template void scan<double>(const ScanParams<double>&);
template int64_t scan_hits<float>(const ScanHitsParams<float>&);
template int64_t scan_hits<double>(const ScanHitsParams<double>&);

}  // namespace motifkit::cpu
