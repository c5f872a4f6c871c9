// Shapes that every op and both devices share: output lengths and window bounds. No torch, no pybind11.
#pragma once

#include <cstdint>

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

  int64_t out_length() const { return length + pad_left + pad_right - width + 1; }
};

// Max-pooling windows: window j covers positions j * stride - padding ... + size - 1, cut to the row.
struct PoolShape {
  int64_t size;
  int64_t stride;
  int64_t padding;
  int64_t out_length;  // number of windows, each holding at least one position of the row
};

}  // namespace motifkit
