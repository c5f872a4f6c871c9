// conv_pool: convolution, affine (batch norm), activation and max-pool in one pass over the codes.
#pragma once

#include "common/geometry.h"

namespace motifkit {

enum class Activation : int { kIdentity = 0, kRelu = 1 };

// The pooled rows kept between forward and backward have the filters innermost, padded to whole blocks.
int64_t padded_filters(int64_t filters);

template <typename T>
struct ConvPoolParams {
  ConvShape conv;
  PoolShape pool;
  const uint8_t* codes;  // (batch, length), rows `codes_stride` letters apart
  int64_t codes_stride;
  const T* weight;  // (filters, 4, width)
  const T* centre;  // (filters): subtracted from the convolution; batch-norm mean less the bias
  const T* scale;   // (filters): multiplies what is left; its sign decides between maximum and minimum
  const T* shift;   // (filters): added last
  bool minimum;     // pool the smallest affine value instead of the largest
  Activation activation;
  T* out;         // (batch, filters, pool.out_length)
  int32_t* kept;  // (batch, pool.out_length, padded filters): position kept of each window; may be null
  int threads;
};

template <typename T>
struct ConvPoolGradParams {
  ConvShape conv;
  PoolShape pool;
  const uint8_t* codes;
  int64_t codes_stride;
  const T* weight;      // (filters, 4, width)
  const T* grad;        // (batch, filters, pool.out_length): gradient of `out`
  const T* out;         // as forward returned it; read only for kRelu
  const int32_t* kept;  // as forward returned it
  Activation activation;
  double* scattered;  // (filters, 4, width): gradient at the kept positions, summed over their windows
  double* total;      // (filters): gradient summed over all windows
  int threads;
};

namespace cpu {
template <typename T>
void conv_pool(const ConvPoolParams<T>& params);
template <typename T>
void conv_pool_backward(const ConvPoolGradParams<T>& params);
}  // namespace cpu
}  // namespace motifkit
