// window_counts: what batch statistics need to know of the sequences, independent of any weight.
#pragma once

#include "common/geometry.h"

namespace motifkit {

struct WindowCountsParams {
  ConvShape conv;        // filters is not used
  const uint8_t* codes;  // (batch, length), rows `codes_stride` letters apart
  int64_t codes_stride;
  int64_t*
      gram;  // (4 * width, 4 * width): windows that hold letter a at k and letter b at l, index a * width + k
  int threads;
};

// Mean, variance and the product weight x covariance that the backward pass needs, all in double.
struct BatchStatisticsParams {
  int64_t filters;
  int64_t features;      // 4 * width
  int64_t windows;       // batch * out_length, at least 1
  const double* weight;  // (filters, features)
  const int64_t* gram;   // (features, features)
  double* mean;          // (filters)
  double* variance;      // (filters), biased
  double* weight_cov;    // (filters, features): weight x covariance of the one-hot windows
  int threads;
};

namespace cpu {
void window_counts(const WindowCountsParams& params);
void batch_statistics(const BatchStatisticsParams& params);
}  // namespace cpu
}  // namespace motifkit
