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

// Mean and variance of the convolution over all windows, taken from the counts in double precision, and the
// product weight x covariance that the backward pass needs.
template <typename T>
struct BatchStatisticsParams {
  int64_t filters;
  int64_t features;     // 4 * width
  int64_t windows;      // batch * out_length, at least 1
  const T* weight;      // (filters, features)
  const int64_t* gram;  // (features, features)
  T* mean;              // (filters), without bias
  T* variance;          // (filters), biased
  double* weight_cov;   // (filters, features): weight x covariance of the one-hot windows
  int threads;
};

namespace cpu {
void window_counts(const WindowCountsParams& params);
template <typename T>
void batch_statistics(const BatchStatisticsParams<T>& params);
}  // namespace cpu

namespace cuda {
int64_t window_counts_scratch(const WindowCountsParams& params, int device);
void window_counts(const WindowCountsParams& params, const Call& call);
template <typename T>
int64_t batch_statistics_scratch(const BatchStatisticsParams<T>& params, int device);
template <typename T>
void batch_statistics(const BatchStatisticsParams<T>& params, const Call& call);
}  // namespace cuda
}  // namespace motifkit
