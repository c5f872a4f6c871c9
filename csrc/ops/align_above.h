// align_above: letter counts of every window above a threshold, taken while scanning: no hit is listed.
// align_best: the same of the best windows of sequences, as scan returned them.
#pragma once

#include "ops/scan.h"

namespace motifkit {

// What a window counts for.
enum class Weighing : int { kOne = 0, kScore = 1, kRelu = 2 };

template <typename T>
struct AlignAboveParams {
  ConvShape conv;
  const uint8_t* codes;  // (batch, length), rows `codes_stride` letters apart
  int64_t codes_stride;
  const T* weight;     // (filters, 4, width)
  const T* bias;       // (filters), or null
  const T* threshold;  // (filters): windows that score strictly more are counted
  Strands strands;
  Weighing weighing;
  int64_t shown;   // letters counted of a window, at least conv.width: as many more on either side of it, the
                   // odd one after it, along its strand
  bool whole;      // leave out windows whose letters shown reach over an end
  bool known;      // leave out windows that show an N; beyond an end there is none
  double* counts;  // (filters, 4, shown), windows of the minus strand reverse-complemented
  int64_t* number;  // (filters), windows
  double* total;    // (filters), their weights
  int threads;
};

template <typename T>
struct AlignBestParams {
  int64_t batch, length, filters;
  int64_t width;         // letters that were scanned with
  const uint8_t* codes;  // (batch, length), rows `codes_stride` letters apart
  int64_t codes_stride;
  const T* score;  // (batch, filters) each
  const int64_t* position;
  const int8_t* strand;
  const T* threshold;  // and what follows as above
  Weighing weighing;
  int64_t shown;
  bool whole, known;
  double* counts;
  int64_t* number;
  double* total;
  int threads;
};

namespace cpu {
template <typename T>
void align_above(const AlignAboveParams<T>& params);
template <typename T>
void align_best(const AlignBestParams<T>& params);
}  // namespace cpu
}  // namespace motifkit
