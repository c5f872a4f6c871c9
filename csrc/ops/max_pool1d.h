// max_pool1d: the largest value of each window and where it stood, in time that does not grow with the
// overlap.
#pragma once

#include "common/geometry.h"

namespace motifkit {

template <typename T>
struct MaxPoolParams {
  PoolShape pool;
  int64_t rows;  // batch * channels
  int64_t length;
  const T* x;        // (rows, length)
  T* out;            // (rows, pool.out_length)
  int64_t* indices;  // (rows, pool.out_length), or null; NaN wins, then the lowest position
  int threads;
};

template <typename T>
struct MaxPoolGradParams {
  int64_t rows, length, out_length;
  const T* grad;           // (rows, out_length)
  const int64_t* indices;  // (rows, out_length), as forward wrote them: they never fall along a row
  T* grad_x;               // (rows, length)
  int threads;
};

namespace cpu {
template <typename T>
void max_pool1d(const MaxPoolParams<T>& params);
template <typename T>
void max_pool1d_backward(const MaxPoolGradParams<T>& params);
}  // namespace cpu

namespace cuda {
template <typename T>
int64_t max_pool1d_scratch(const MaxPoolParams<T>& params, int device);
template <typename T>
void max_pool1d(const MaxPoolParams<T>& params, const Call& call);
template <typename T>
void max_pool1d_backward(const MaxPoolGradParams<T>& params, const Call& call);
}  // namespace cuda
}  // namespace motifkit
