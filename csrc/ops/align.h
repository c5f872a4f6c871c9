// align: letter counts of the windows under a list of hits, one table a filter.
#pragma once

#include "common/geometry.h"

namespace motifkit {

struct AlignParams {
  int64_t batch, length, hits, filters, width;
  int64_t offset;        // added to a hit's position to find the window's first letter (before any reversal)
  const uint8_t* codes;  // (batch, length), rows `codes_stride` letters apart
  int64_t codes_stride;
  const int64_t* sequence;  // (hits) each
  const int64_t* filter;
  const int64_t* position;
  const int8_t* strand;
  const double* weights;  // (hits), or null for one each
  double* counts;         // (filters, 4, width)
};

namespace cpu {
// Throws std::out_of_range for a hit whose sequence or filter does not exist.
void align(const AlignParams& params);
}  // namespace cpu

namespace cuda {
// `order` (hits) lists the hits by filter, those of one filter in their order. Where a hit names a sequence
// or a filter that does not exist, the counts concerned are NaN: to throw, the host would have to wait.
int64_t align_scratch(const AlignParams& params, int device);
void align(const AlignParams& params, const int64_t* order, const Call& call);
}  // namespace cuda
}  // namespace motifkit
