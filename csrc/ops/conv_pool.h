// conv_pool: convolution, batch norm, activation and max-pool in one pass over the codes.
#pragma once

#include "common/norm.h"

namespace motifkit {

// Where forward kept the maximum of each window, (batch, pool.out_length, padded filters) in an order of the
// device's own: the position less the window's first, in one byte where that fits, with all bits set where
// ReLU passes no gradient. Null where no gradient is wanted.
inline bool kept_is_wide(const PoolShape& pool) {
  return pool.size > 255;
}
// Whole blocks of 32 filters; 16 make the last where those are enough.
inline int64_t padded_filters(int64_t filters) {
  return (filters + 31) / 32 * 32 - (filters % 32 > 0 && filters % 32 <= 16 ? 16 : 0);
}

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
  const int64_t* gram;       // of window_counts; both null unless norm.windows
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

namespace cuda {
template <typename T>
int64_t conv_pool_scratch(const ConvPoolParams<T>& params, int device);
template <typename T>
void conv_pool(const ConvPoolParams<T>& params, const Call& call);
template <typename T>
int64_t conv_pool_backward_scratch(const ConvPoolGradParams<T>& params, int device);
template <typename T>
void conv_pool_backward(const ConvPoolGradParams<T>& params, const Call& call);
}  // namespace cuda
}  // namespace motifkit
