// Shapes that every op and both devices share: output lengths and window bounds. No torch, no pybind11.
#pragma once

#include <cstdint>

// Before functions that host and device share.
#ifdef __CUDACC__
#define MK_HOST_DEVICE __host__ __device__
#else
#define MK_HOST_DEVICE
#endif

namespace motifkit {

// A one-hot convolution over `batch` sequences. Window t covers letters t - pad_left ... t - pad_left + width
// - 1; letters outside the sequence read as N, whose one-hot column is zero.
struct ConvShape {
  int64_t batch;   // sequences
  int64_t length;  // letters a sequence
  int64_t filters;
  int64_t width;      // letters a filter covers
  int64_t pad_left;   // letters of N before the sequence
  int64_t pad_right;  // letters of N after it

  MK_HOST_DEVICE int64_t out_length() const { return length + pad_left + pad_right - width + 1; }
};

// Max-pooling windows: window j covers positions j * stride - padding ... + size - 1, cut to the row.
struct PoolShape {
  int64_t size;
  int64_t stride;
  int64_t padding;
  int64_t out_length;  // number of windows, each holding at least one position of the row

  MK_HOST_DEVICE int64_t start(int64_t window) const { return window * stride - padding; }  // before the cut
  MK_HOST_DEVICE int64_t begin(int64_t window) const { return start(window) > 0 ? start(window) : 0; }
  MK_HOST_DEVICE int64_t end(int64_t window, int64_t length) const {
    const int64_t last = start(window) + size;
    return last < length ? last : length;
  }
};

namespace cuda {

// Where and in what a CUDA entry point works. Nothing is allocated below Python: `scratch` has as many bytes
// as the op's *_scratch function asked for, 256-byte aligned, and is free again once the stream gets there.
struct Call {
  void* scratch;
  void* stream;  // cudaStream_t
  int device;
};

}  // namespace cuda
}  // namespace motifkit
