// The scan of `hits`, but what it finds goes from the first-level cache into sums over words, which become
// sums over letters as those of a gradient do.
#include "ops/align_above.h"

#include <limits>
#include <optional>

#include "cpu/scan_blocks.h"

namespace motifkit::cpu {
namespace {

// Letters a word of the sums, which are double: words of four would write less for a window, but drive the
// tables out of the second-level cache.
constexpr int kSumLetters = 3;

// Letters counted, from a window's position on: those that either strand shows.
struct Shown {
  explicit Shown(int64_t own, int64_t width, Strands strands) : width(width) {
    const int64_t less = (width - own) / 2, more = width - own - less;  // along its strand, the odd one last
    before[0] = less, before[1] = more;
    lead = strands == Strands::kForward ? less : more;
    columns = width + (strands == Strands::kBoth ? more - less : 0);
  }
  // First column of what a strand shows.
  int64_t first(int8_t strand) const { return lead - before[strand < 0]; }
  int64_t width, lead, columns;
  int64_t before[2];  // letters shown before a window of the forward and of the reverse strand
};

// Which strands may count the windows of a tile, one byte a window: bit 0 forward, bit 1 reverse.
class Allowed {
 public:
  template <typename T>
  Allowed(const AlignAboveParams<T>& p, const Shown& shown)
      : length_(p.conv.length), pad_(p.conv.pad_left), whole_(p.whole), known_(p.known), shown_(shown) {
    strands_ = allocate<uint8_t>(kTilePositions);
  }

  void fill(const uint8_t* codes, int64_t begin, int64_t end) {
    begin_ = begin, end_ = end;
    std::fill_n(strands_.get(), end - begin, uint8_t{3});
    for (int strand = 0; strand < 2 && (whole_ || known_); ++strand) {
      const int64_t shift = shown_.before[strand] + pad_;  // from a position back to the first letter shown
      if (whole_) {
        clear(strand, begin, shift);
        clear(strand, length_ - shown_.width + shift + 1, end);
      }
      if (!known_) continue;
      int64_t done = begin;
      const int64_t last = std::min(length_, end - shift + shown_.width);
      for (int64_t i = std::max<int64_t>(0, begin - shift); i < last; ++i) {
        if (codes[i] < 4) continue;
        clear(strand, std::max(done, i - shown_.width + 1 + shift), i + shift + 1);
        done = std::max(done, i + shift + 1);
      }
    }
  }

  // body(strands, begin, end) for every run of windows that the same strands may count.
  template <typename Body>
  void each_run(const Body& body) const {
    for (int64_t at = begin_, next; at < end_; at = next) {
      const uint8_t strands = strands_[at - begin_];
      next = whole_ || known_ ? at + 1 : end_;
      while (next < end_ && strands_[next - begin_] == strands) ++next;
      if (strands != 0) body(strands, at, next);
    }
  }

 private:
  void clear(int strand, int64_t from, int64_t to) {
    for (int64_t t = std::max(from, begin_); t < std::min(to, end_); ++t)
      strands_[t - begin_] &= static_cast<uint8_t>(~(1 << strand));
  }
  int64_t length_, pad_, begin_ = 0, end_ = 0;
  bool whole_, known_;
  const Shown& shown_;
  Buffer<uint8_t> strands_;
};

// Thresholds of a block's lanes: infinite where the lane's strand may not count.
template <typename T>
struct Bars {
  Bars(const AlignAboveParams<T>& p, const Lanes<T>& lanes, int64_t first, int64_t live) {
    for (auto& bar : threshold) std::fill_n(bar, kBlockLanes, std::numeric_limits<T>::infinity());
    for (int64_t i = 0; i < live; ++i) {
      const int64_t f = lanes.filter(first + i);
      if (p.bias != nullptr) bias[i] = p.bias[f];
      for (int strands = 1; strands < 4; ++strands)
        if (strands & (lanes.strand(first + i) > 0 ? 1 : 2)) threshold[strands][i] = p.threshold[f];
    }
  }
  T bias[kBlockLanes] = {}, threshold[4][kBlockLanes];
};

template <typename T>
void count_group(const AlignAboveParams<T>& p, const Lanes<T>& lanes, const ScanBlock<T>& tables,
                 const Shown& shown, int64_t first, int64_t live, int width, int64_t unit, int64_t last,
                 double* letters, double* total, int64_t* number) {
  const auto& k = kernels<T>();
  const T least = p.weighing == Weighing::kRelu ? 0 : -std::numeric_limits<T>::infinity();
  if (p.weighing == Weighing::kOne) total = nullptr;
  const Bars<T> bars(p, lanes, first, live);
  const Spans spans(p.conv, kTilePositions);
  const int64_t shift = -p.conv.pad_left - shown.lead;
  BlockTables<double> sums(shown.columns, kSumLetters);
  WordBuffer scanned(kTilePositions, p.conv.width), counted(kTilePositions, shown.columns);
  Allowed allowed(p, shown);
  const auto list = allocate<LanesAbove>(kMostListed + 1);
  sums.reshape(width);
  sums.clear();
  for (; unit < last; ++unit) {
    const int64_t begin = spans.begin(unit % spans.per_sequence), end = spans.end(unit % spans.per_sequence);
    const uint8_t* codes = p.codes + unit / spans.per_sequence * p.codes_stride;
    const Words words = scanned.fill(codes, p.conv.length, begin, end, tables.shift, tables.tables);
    const Words places = counted.fill(codes, p.conv.length, begin, end, shift, sums);
    allowed.fill(codes, begin, end);
    allowed.each_run([&](int strands, int64_t from, int64_t to) {
      for (; from < to; from += kMostListed) {
        const int64_t count = k.above(tables.tables.get(), words, from, std::min(from + kMostListed, to),
                                      bars.bias, bars.threshold[strands], list.get());
        if (count > 0)
          k.scatter_above(tables.tables.get(), words, bars.bias, list.get(), count, least, sums.get(), places,
                          number, total);
      }
    });
  }
  kernels<double>().fold(sums.get(), live, shown.columns, letters);
}

}  // namespace

template <typename T>
void align_above(const AlignAboveParams<T>& p) {
  const Lanes<T> lanes(p.conv, p.weight, p.strands);
  const Blocks blocks(lanes.count());
  const Shown shown(p.conv.width, p.shown, p.strands);
  const int64_t units = p.conv.batch * Spans(p.conv, kTilePositions).per_sequence;
  const int64_t groups = sum_groups(p.conv.batch * p.conv.out_length(), units), padded = blocks.padded();
  const int64_t size = 4 * shown.columns;
  std::vector<double> letters(groups * padded * size),
      total(groups * padded);  // letters of 4 * columns a lane
  std::vector<int64_t> number(groups * padded);
  parallel_for(p.threads, blocks.count() * groups, [&](int64_t begin, int64_t end) {
    std::optional<ScanBlock<T>> tables;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t block = task / groups, group = task % groups, first = blocks.first(block);
      const int64_t live = blocks.live(block), at = group * padded + first;
      if (group == 0 || task == begin) tables.emplace(lanes, p.conv, first, live, blocks.lanes(block));
      count_group(p, lanes, *tables, shown, first, live, blocks.lanes(block), units * group / groups,
                  units * (group + 1) / groups, letters.data() + at * size, total.data() + at,
                  number.data() + at);
    }
  });
  std::fill_n(p.counts, p.conv.filters * 4 * p.shown, 0.0);
  std::fill_n(p.number, p.conv.filters, int64_t{0});
  std::fill_n(p.total, p.conv.filters, 0.0);
  for (int64_t group = 0; group < groups; ++group)
    for (int64_t lane = 0; lane < lanes.count(); ++lane) {
      const int64_t f = lanes.filter(lane), at = group * padded + lane;
      p.number[f] += number[at];
      p.total[f] += p.weighing == Weighing::kOne ? static_cast<double>(number[at]) : total[at];
      for (int letter = 0; letter < 4; ++letter) {
        const double* from = letters.data() + at * size + letter * shown.columns;
        from += shown.first(lanes.strand(lane));
        double* to = p.counts + f * 4 * p.shown;
        if (lanes.strand(lane) > 0)
          for (int64_t i = 0; i < p.shown; ++i) to[letter * p.shown + i] += from[i];
        else
          for (int64_t i = 0; i < p.shown; ++i) to[(4 - letter) * p.shown - 1 - i] += from[i];
      }
    }
}

template void align_above<float>(const AlignAboveParams<float>&);
template void align_above<double>(const AlignAboveParams<double>&);

}  // namespace motifkit::cpu
