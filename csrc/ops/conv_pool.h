// conv_pool: convolution, batch norm, activation and max-pool in one pass over the codes.
#pragma once

#include "common/geometry.h"

namespace motifkit {

enum class Activation : int { kIdentity = 0, kRelu = 1 };

// y = norm_weight * (convolution + bias - mean) / sqrt(variance + eps) + norm_bias; without a mean, the
// convolution plus bias alone. Any pointer but `mean` with `variance` may be null by itself.
template <typename T>
struct NormParams {
  const T* bias;         // (filters), of the convolution
  const T* norm_weight;  // (filters)
  const T* norm_bias;    // (filters)
  const T* mean;         // (filters)
  const T* variance;     // (filters)
  double eps;
  bool of_batch;  // mean and variance are those of this batch's convolution without bias
};

// Where forward kept the maximum of each window, (batch, pool.out_length, padded filters) in an order of its
// own: the position less the window's first, in one byte where that fits, with all bits set where ReLU passes
// no gradient. Null where no gradient is wanted.
bool kept_is_wide(const PoolShape& pool);
int64_t padded_filters(int64_t filters);

template <typename T>
struct ConvPoolParams {
  ConvShape conv;
  PoolShape pool;
  NormParams<T> norm;
  const uint8_t* codes;  // (batch, length), rows `codes_stride` letters apart
  int64_t codes_stride;
  const T* weight;  // (filters, 4, width)
  bool minimum;     // pool the smallest value instead of the largest
  Activation activation;
  T* out;  // (batch, filters, pool.out_length)
  void* kept;
  int threads;
};

template <typename T>
struct ConvPoolGradParams {
  ConvShape conv;
  PoolShape pool;
  NormParams<T> norm;
  const uint8_t* codes;
  int64_t codes_stride;
  const T* weight;           // (filters, 4, width)
  const T* grad;             // (batch, filters, pool.out_length): gradient of `out`
  const void* kept;          // as forward wrote it
  const double* weight_cov;  // of batch_statistics, and
  const int64_t* gram;       // of window_counts; both null unless norm.of_batch
  T* grad_weight;            // (filters, 4, width)
  T* grad_bias;              // (filters) each
  T* grad_norm_weight;
  T* grad_norm_bias;
  int threads;
};

namespace cpu {
template <typename T>
void conv_pool(const ConvPoolParams<T>& params);
template <typename T>
void conv_pool_backward(const ConvPoolGradParams<T>& params);
}  // namespace cpu
}  // namespace motifkit
