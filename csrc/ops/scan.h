// scan: the best window of each sequence for each filter. scan_hits: every window above a threshold.
// scan_summary: the largest score of each filter anywhere, and the sum of all.
#pragma once

#include "common/geometry.h"

namespace motifkit {

enum class Strands : int { kForward = 1, kReverse = 2, kBoth = 3 };

template <typename T>
struct ScanParams {
  ConvShape conv;
  const uint8_t* codes;  // (batch, length), rows `codes_stride` letters apart
  int64_t codes_stride;
  const T* weight;  // (filters, 4, width)
  const T* bias;    // (filters), or null
  Strands strands;
  T* score;           // (batch, filters)
  int64_t* position;  // (batch, filters): first letter of the window, negative inside the left padding
  int8_t* strand;     // (batch, filters): +1 or -1
  int threads;
};

template <typename T>
struct ScanHitsParams {
  ConvShape conv;
  const uint8_t* codes;
  int64_t codes_stride;
  const T* weight;
  const T* bias;
  const T* threshold;  // (filters): a hit scores strictly more
  Strands strands;
  int64_t max_per_sequence;  // best hits kept of each sequence and filter; 0 keeps all
  int64_t capacity;          // room in the arrays below
  int64_t* sequence;         // ordered by sequence, filter, position, forward strand first
  int64_t* filter;
  int64_t* position;
  int8_t* strand;
  T* score;
  int threads;
};

template <typename T>
struct ScanSummaryParams {
  ConvShape conv;
  const uint8_t* codes;
  int64_t codes_stride;
  const T* weight;
  const T* bias;
  Strands strands;
  bool relu;      // sum what is above zero alone
  T* largest;     // (filters), of both strands
  double* total;  // (filters), or null
  int threads;
};

namespace cpu {
template <typename T>
void scan(const ScanParams<T>& params);
// For benchmarks: the same look-ups with words given and nothing else done, `repeats` times over the first
// windows of the first sequence. Scores hold the maxima. Returns how many windows there were.
template <typename T>
int64_t scan_floor(const ScanParams<T>& params, int64_t repeats);
// Number of hits. Where it is above `capacity` nothing was written: call again with more room.
template <typename T>
int64_t scan_hits(const ScanHitsParams<T>& params);
template <typename T>
void scan_summary(const ScanSummaryParams<T>& params);
}  // namespace cpu

namespace cuda {
template <typename T>
int64_t scan_scratch(const ScanParams<T>& params, int device);
template <typename T>
void scan(const ScanParams<T>& params, const Call& call);

// scan_hits in two passes over spans of windows, with the sum of the counts (and the allocation of the
// result) in between: `params` needs its arrays in the second alone, and keeps all hits.
int64_t hit_spans(int64_t windows);  // of one sequence
template <typename T>
int64_t count_hits_scratch(const ScanHitsParams<T>& params, int device);
template <typename T>
void count_hits(const ScanHitsParams<T>& params, int64_t* counts,
                const Call& call);  // (batch, filters, spans)
template <typename T>
int64_t write_hits_scratch(const ScanHitsParams<T>& params, int device);
template <typename T>
void write_hits(const ScanHitsParams<T>& params, const int64_t* starts,
                const Call& call);  // where each begins
}  // namespace cuda
}  // namespace motifkit
