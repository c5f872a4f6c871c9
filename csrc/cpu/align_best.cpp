#include <optional>
#include <vector>

#include "cpu/blocks.h"
#include "ops/align_above.h"

namespace motifkit::cpu {
namespace {

constexpr int64_t kTileLetters = 16384;  // whose bits stay in the first-level cache

// Windows that were kept, listed by filter and strand, and where their letters' bits are.
class Listed {
 public:
  Listed(int64_t lists, int64_t most)
      : most_(most),
        count_(lists),
        weight_(allocate<double>(lists * most + kBitPadding)),
        place_(allocate<uint32_t>(lists * most + kBitPadding)) {}
  void add(int64_t list, double weight, uint32_t place) {
    const int64_t at = list * most_ + count_[list]++;
    weight_[at] = weight, place_[at] = place;
  }
  // Adds the letters of each list to its sums, and empties it.
  void count(const uint8_t* bits, int64_t features, double* sums) {
    for (size_t list = 0; list < count_.size(); ++list) {
      if (count_[list] == 0) continue;
      const int64_t at = static_cast<int64_t>(list) * most_;
      kernels<double>().add_windows(bits, weight_.get() + at, place_.get() + at, count_[list], features,
                                    sums + static_cast<int64_t>(list) * features);
      count_[list] = 0;
    }
  }

 private:
  int64_t most_;
  std::vector<int64_t> count_;
  Buffer<double> weight_;
  Buffer<uint32_t> place_;
};

// Counts of one group of sequences: letters (filters, strands, columns of four letters, padded).
struct BestCounts {
  BestCounts(int64_t filters, int64_t shown)
      : features((4 * shown + kBitPadding - 1) / kBitPadding * kBitPadding),
        letters(filters * 2 * features),
        total(filters),
        number(filters) {}
  int64_t features;
  std::vector<double> letters, total;
  std::vector<int64_t> number;
};

// What a best window counts for; nothing where it is left out.
template <typename T>
std::optional<double> weight_of(const AlignBestParams<T>& p, const uint8_t* codes, int64_t start, T score) {
  const int64_t begin = std::max<int64_t>(0, -start), end = std::min(p.shown, p.length - start);
  if (p.whole && (begin > 0 || end < p.shown)) return std::nullopt;
  for (int64_t k = begin; k < end && p.known; ++k)
    if (codes[start + k] > 3) return std::nullopt;
  if (p.weighing == Weighing::kOne) return 1;
  return p.weighing == Weighing::kRelu && !(score > 0) ? 0 : static_cast<double>(score);
}

// Sequences are taken in pieces around their windows: a short one is a piece as a whole, with `margin`
// letters of N at either end; of a long one each window is.
template <typename T>
void count_best(const AlignBestParams<T>& p, int64_t first, int64_t last, BestCounts& counts) {
  const auto& k = kernels<double>();
  const bool apart = p.length > kTileLetters;
  const int64_t margin = apart ? 0 : p.shown, letters = (apart ? p.shown : p.length + 2 * p.shown);
  const int64_t half = (letters + kBitPadding) / 2 + 8, piece = 2 * half;  // even and odd bits
  const int64_t together = apart ? 1 : std::max<int64_t>(1, kTileLetters / p.length);
  const int64_t extra = p.shown - p.width;
  const auto bits = allocate<uint8_t>(together * piece + kBitSlack);
  Listed listed(p.filters * 2, together);
  const auto fill = [&](int64_t index, const uint8_t* codes, int64_t from) {
    uint8_t* even = bits.get() + index * piece;
    k.one_hot_bits(codes, p.length, from, 2 * half, even, even + half);
  };
  for (int64_t n = first; n < last; n += together) {
    const int64_t end = std::min(last, n + together);
    for (int64_t sequence = n; sequence < end; ++sequence) {
      const uint8_t* codes = p.codes + sequence * p.codes_stride;
      if (!apart) fill(sequence - n, codes, -margin);
      for (int64_t f = 0; f < p.filters; ++f) {
        const int64_t at = sequence * p.filters + f;
        if (!(p.score[at] > p.threshold[f])) continue;
        const bool reverse = p.strand[at] < 0;
        const int64_t start = p.position[at] - (reverse ? extra - extra / 2 : extra / 2);
        const auto weight = weight_of(p, codes, start, p.score[at]);
        if (!weight) continue;
        counts.total[f] += *weight;
        ++counts.number[f];
        if (apart) fill(0, codes, start);
        // Wherever it lies outside, a window shows nothing.
        const int64_t inside = apart ? 0 : std::clamp<int64_t>(start + margin, 0, p.length + margin);
        listed.add(2 * f + reverse, *weight,
                   static_cast<uint32_t>((sequence - n) * piece + inside % 2 * half + inside / 2));
        if (apart) listed.count(bits.get(), counts.features, counts.letters.data());
      }
    }
    listed.count(bits.get(), counts.features, counts.letters.data());
  }
}

}  // namespace

template <typename T>
void align_best(const AlignBestParams<T>& p) {
  const int64_t groups = sum_groups(p.batch * p.length, p.batch);
  std::vector<BestCounts> counts(groups, BestCounts(p.filters, p.shown));
  parallel_for(p.threads, groups, [&](int64_t first, int64_t last) {
    for (int64_t group = first; group < last; ++group)
      count_best(p, p.batch * group / groups, p.batch * (group + 1) / groups, counts[group]);
  });
  std::fill_n(p.counts, p.filters * 4 * p.shown, 0.0);
  std::fill_n(p.number, p.filters, int64_t{0});
  std::fill_n(p.total, p.filters, 0.0);
  for (const BestCounts& group : counts)
    for (int64_t f = 0; f < p.filters; ++f) {
      p.number[f] += group.number[f];
      p.total[f] += group.total[f];
      const double *forward = group.letters.data() + 2 * f * group.features,
                   *reverse = forward + group.features;
      double* to = p.counts + f * 4 * p.shown;
      for (int letter = 0; letter < 4; ++letter)
        for (int64_t column = 0; column < p.shown; ++column)
          to[letter * p.shown + column] +=
              forward[column * 4 + letter] + reverse[4 * (p.shown - column) - 1 - letter];
    }
}

template void align_best<float>(const AlignBestParams<float>&);
template void align_best<double>(const AlignBestParams<double>&);

}  // namespace motifkit::cpu
