// onehot_conv1d: the convolution of F.conv1d on one-hot sequences, read from the codes.
#pragma once

#include "common/geometry.h"

namespace motifkit {

template <typename T>
struct OneHotConvParams {
  ConvShape conv;
  const uint8_t* codes;  // (batch, length), rows `codes_stride` letters apart
  int64_t codes_stride;
  const T* weight;  // (filters, 4, width)
  const T* bias;    // (filters), or null
  T* out;           // (batch, filters, out_length)
  int threads;
};

template <typename T>
struct OneHotConvGradParams {
  ConvShape conv;
  const uint8_t* codes;
  int64_t codes_stride;
  const T* grad;        // (batch, filters, out_length)
  double* grad_weight;  // (filters, 4, width)
  double* grad_bias;    // (filters)
  int threads;
};

namespace cpu {
template <typename T>
void onehot_conv1d(const OneHotConvParams<T>& params);
template <typename T>
void onehot_conv1d_backward(const OneHotConvGradParams<T>& params);
}  // namespace cpu

namespace cuda {
template <typename T>
int64_t onehot_conv1d_scratch(const OneHotConvParams<T>& params, int device);
template <typename T>
void onehot_conv1d(const OneHotConvParams<T>& params, const Call& call);
template <typename T>
int64_t onehot_conv1d_backward_scratch(const OneHotConvGradParams<T>& params, int device);
template <typename T>
void onehot_conv1d_backward(const OneHotConvGradParams<T>& params, const Call& call);
}  // namespace cuda
}  // namespace motifkit
