// Batch norm as one affine a filter, and what gradients summed over windows become: the arithmetic of both
// devices.
#pragma once

#include <cmath>

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
  // Windows that mean and variance were taken of, of convolutions without bias: the batch's, or more where
  // the batch is shared out over processes. 0 for running statistics.
  int64_t windows;
};

template <typename T>
MK_HOST_DEVICE double rstd_of(const NormParams<T>& norm, int64_t f) {
  return 1 / sqrt(static_cast<double>(norm.variance[f]) + norm.eps);
}

template <typename T>
MK_HOST_DEVICE double scale_of(const NormParams<T>& norm, int64_t f) {
  if (norm.mean == nullptr) return 1;
  const double gain = norm.norm_weight == nullptr ? 1 : static_cast<double>(norm.norm_weight[f]);
  return gain / sqrt(static_cast<double>(norm.variance[f]) + norm.eps);
}

template <typename T>
MK_HOST_DEVICE T centre_of(const NormParams<T>& norm, int64_t f) {
  if (norm.mean == nullptr) return 0;
  return norm.windows > 0 || norm.bias == nullptr ? norm.mean[f] : norm.mean[f] - norm.bias[f];
}

template <typename T>
MK_HOST_DEVICE T shift_of(const NormParams<T>& norm, int64_t f) {
  const T* shift = norm.mean == nullptr ? norm.bias : norm.norm_bias;
  return shift == nullptr ? 0 : shift[f];
}

// One filter's affine. Weights are taken times `sign`, so that the wanted extreme is always a maximum:
// y = (sign * convolution - centre) * scale + shift.
template <typename T>
struct Affine {
  T sign, centre, scale, shift;

  MK_HOST_DEVICE T operator()(T x) const { return (x - centre) * scale + shift; }
};

template <typename T>
MK_HOST_DEVICE Affine<T> affine_of(const NormParams<T>& norm, bool minimum, int64_t f) {
  const T a = static_cast<T>(scale_of(norm, f));
  T sign = static_cast<T>(((a > 0) - (a < 0)) * (minimum ? -1 : 1));
  if (a != a) sign = 1;  // a NaN scale reaches the output by itself
  return {sign, sign * centre_of(norm, f), sign * a, shift_of(norm, f)};
}

// From the sums of one filter, its gradients at the kept positions (`total`) and under the letters of their
// windows (`scattered`), to the gradients of its parameters: see the derivation in
// motifkit/ops/conv_pool.py. `products` is the sum of scattered times weight.
struct FilterGradient {
  double scale, norm_weight, batch_share, norm_share;

  template <typename T>
  MK_HOST_DEVICE FilterGradient(const NormParams<T>& norm, int64_t f, double total, double products)
      : scale(scale_of(norm, f)), norm_weight(total), batch_share(0), norm_share(0) {
    if (norm.mean == nullptr) return;
    const double rstd = rstd_of(norm, f);
    norm_weight = rstd * (products - static_cast<double>(centre_of(norm, f)) * total);
    if (norm.windows > 0) {
      batch_share = total / static_cast<double>(norm.windows);
      norm_share = norm_weight * rstd;
    }
  }
  // Of one weight: its scattered sum, how many windows hold its letter there, and weight x covariance.
  MK_HOST_DEVICE double weight(double scattered, double count, double weight_cov) const {
    return (scattered - (batch_share * count + norm_share * weight_cov)) * scale;
  }
};

}  // namespace motifkit
