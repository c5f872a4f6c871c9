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

// The running statistics of a batch norm, moved towards a batch's; null where there are none.
template <typename T>
struct RunningStatistics {
  const T* bias;  // (filters), of the convolution; may be null
  T* mean;        // (filters)
  T* variance;    // (filters), unbiased
  double momentum;

  MK_HOST_DEVICE void move(int64_t f, double batch_mean, double batch_variance, int64_t windows) const {
    if (mean == nullptr) return;
    const double n = static_cast<double>(windows),
                 with_bias = bias == nullptr ? 0 : static_cast<double>(bias[f]);
    mean[f] = static_cast<T>(mean[f] + momentum * (batch_mean + with_bias - mean[f]));
    variance[f] = static_cast<T>(variance[f] + momentum * (batch_variance * (n / (n - 1)) - variance[f]));
  }
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
  RunningStatistics<T> running;
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
