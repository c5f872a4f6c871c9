// What scanning ops share on the CPU: filters and strands as lanes, their tables, spans of windows.
#pragma once

#include <numeric>

#include "cpu/blocks.h"
#include "ops/scan.h"

namespace motifkit::cpu {

inline constexpr int64_t kManyPositions = int64_t{1} << 20;

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

// Sequences cut into spans of windows.
struct Spans {
  Spans(const ConvShape& conv, int64_t most)
      : windows(most), length(conv.out_length()), per_sequence((length + windows - 1) / windows) {}
  int64_t begin(int64_t span) const { return span * windows; }
  int64_t end(int64_t span) const { return std::min(length, (span + 1) * windows); }
  int64_t windows, length, per_sequence;
};

}  // namespace motifkit::cpu
