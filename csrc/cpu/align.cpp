#include "ops/align.h"

#include <algorithm>
#include <stdexcept>

namespace motifkit::cpu {

void align(const AlignParams& p) {
  std::fill_n(p.counts, p.filters * 4 * p.width, 0.0);
  for (int64_t i = 0; i < p.hits; ++i) {
    const int64_t sequence = p.sequence[i], filter = p.filter[i];
    if (sequence < 0 || sequence >= p.batch)
      throw std::out_of_range("a hit names a sequence that is not there");
    if (filter < 0 || filter >= p.filters) throw std::out_of_range("a hit names a filter that is not there");
    const uint8_t* codes = p.codes + sequence * p.codes_stride;
    const int64_t start = p.position[i] + p.offset;
    const double weight = p.weights == nullptr ? 1.0 : p.weights[i];
    double* counts = p.counts + filter * 4 * p.width;
    const int64_t begin = std::max<int64_t>(0, -start), end = std::min(p.width, p.length - start);
    if (p.strand[i] >= 0) {
      for (int64_t k = begin; k < end; ++k)
        if (codes[start + k] < 4) counts[codes[start + k] * p.width + k] += weight;
    } else {
      for (int64_t k = begin; k < end; ++k)
        if (codes[start + k] < 4) counts[(3 - codes[start + k]) * p.width + p.width - 1 - k] += weight;
    }
  }
}

}  // namespace motifkit::cpu
