#include <vector>

#include "cpu/blocks.h"
#include "ops/align_above.h"

namespace motifkit::cpu {
namespace {

// Counts of one group of sequences: (filters, strands, five letters, shown).
template <typename T>
struct BestCounts {
  explicit BestCounts(const AlignBestParams<T>& p)
      : size(kWords * p.shown), letters(p.filters * 2 * size), total(p.filters), number(p.filters) {}

  void add(const AlignBestParams<T>& p, int64_t sequence, int64_t f) {
    const int64_t at = sequence * p.filters + f, extra = p.shown - p.width;
    const T score = p.score[at];
    if (!(score > p.threshold[f])) return;
    const bool reverse = p.strand[at] < 0;
    const uint8_t* codes = p.codes + sequence * p.codes_stride;
    const int64_t start = p.position[at] - (reverse ? extra - extra / 2 : extra / 2);
    const int64_t begin = std::max<int64_t>(0, -start), end = std::min(p.shown, p.length - start);
    if (p.whole && (begin > 0 || end < p.shown)) return;
    for (int64_t k = begin; k < end && p.known; ++k)
      if (codes[start + k] > 3) return;
    const double weight = p.weighing == Weighing::kOne                    ? 1
                          : p.weighing == Weighing::kRelu && !(score > 0) ? 0
                                                                          : static_cast<double>(score);
    double* counts = letters.data() + (f * 2 + reverse) * size;
    for (int64_t k = begin; k < end; ++k) counts[std::min<int>(codes[start + k], 4) * p.shown + k] += weight;
    total[f] += weight;
    ++number[f];
  }

  int64_t size;
  std::vector<double> letters, total;
  std::vector<int64_t> number;
};

}  // namespace

template <typename T>
void align_best(const AlignBestParams<T>& p) {
  const int64_t groups = sum_groups(p.batch * p.length, p.batch);
  std::vector<BestCounts<T>> counts(groups, BestCounts<T>(p));
  parallel_for(p.threads, groups, [&](int64_t first, int64_t last) {
    for (int64_t group = first; group < last; ++group)
      for (int64_t n = p.batch * group / groups; n < p.batch * (group + 1) / groups; ++n)
        for (int64_t f = 0; f < p.filters; ++f) counts[group].add(p, n, f);
  });
  std::fill_n(p.counts, p.filters * 4 * p.shown, 0.0);
  std::fill_n(p.number, p.filters, int64_t{0});
  std::fill_n(p.total, p.filters, 0.0);
  for (const BestCounts<T>& group : counts)
    for (int64_t f = 0; f < p.filters; ++f) {
      p.number[f] += group.number[f];
      p.total[f] += group.total[f];
      const double *forward = group.letters.data() + f * 2 * group.size, *reverse = forward + group.size;
      double* to = p.counts + f * 4 * p.shown;
      for (int64_t i = 0; i < 4 * p.shown; ++i) to[i] += forward[i] + reverse[4 * p.shown - 1 - i];
    }
}

template void align_best<float>(const AlignBestParams<float>&);
template void align_best<double>(const AlignBestParams<double>&);

}  // namespace motifkit::cpu
