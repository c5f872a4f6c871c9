// The table of inner loops, one for each instruction set and element type. kernels.inl defines them;
// dispatch.cpp picks.
#pragma once

#include <cstdint>

#include "common/geometry.h"

namespace motifkit::cpu {

// Filters are worked on in blocks: as many lanes as a block has, side by side in memory.
inline constexpr int kBlockLanes = 32;
inline constexpr int kTailLanes = 16;  // the last block, where 16 lanes are enough
inline constexpr int kWords = 5;       // letters A, C, G, T, N
inline constexpr int kMaxChunk = 4;    // letters of the longest word

// Look-up tables of one block: `chunks` tables of 5^chunk rows, a row holding one partial sum a lane.
template <typename T>
struct Tables {
  T* rows;
  int lanes;
  int chunk;            // letters a word
  int chunks;           // words that cover the filter
  int64_t chunk_bytes;  // from one word's table to the next's
};

// Positions of one sequence: offsets[t - first + j * chunk] is the byte offset of the row of word j of window
// t.
struct Words {
  const uint32_t* offsets;
  int64_t first;
};

// Windows [begin, end) of one row of positions; `length` positions in all.
struct PoolTile {
  PoolShape shape;
  int64_t length;
  int64_t begin, end;
};

template <typename T>
struct Kernels {
  // offsets[i] = row_bytes * (word of `chunk` letters at first + i), for i in [0, count); letters outside [0,
  // length) and codes above 4 read as N.
  void (*words)(const uint8_t* codes, int64_t length, int64_t first, int64_t count, int chunk,
                uint32_t row_bytes, uint8_t* letters, uint32_t* offsets);
  // Tables of columns [column, column + columns) of `live` filters (live, 4, width), each lane times
  // sign[lane].
  void (*tables)(const T* weight, int64_t live, int64_t width, int64_t column, int64_t columns, const T* sign,
                 T* scratch, const Tables<T>& out);
  // Largest value and lowest position of each window, (windows, lanes); `kept` rows are kept_stride apart,
  // may be null.
  void (*pool_tables)(const Tables<T>& tables, const Words& words, const PoolTile& tile, T* scratch, T* out,
                      int32_t* kept, int64_t kept_stride);
  void (*pool_rows)(const T* rows, int64_t first, int lanes, const PoolTile& tile, T* scratch, T* out,
                    int32_t* kept, int64_t kept_stride);
  // Convolution at positions [begin, end), (positions, lanes), plus bias[lane].
  void (*convolve)(const Tables<T>& tables, const Words& words, int64_t begin, int64_t end, const T* bias,
                   T* out);
  // Raises best[lane] and position[lane] over [begin, end). `fresh` starts anew at `begin`.
  void (*best)(const Tables<T>& tables, const Words& words, int64_t begin, int64_t end, bool fresh, T* best,
               int32_t* position);
  // Windows above threshold[lane], by position then lane. Room for (end - begin) * lanes. Returns how many.
  int64_t (*hits)(const Tables<T>& tables, const Words& words, int64_t begin, int64_t end, const T* threshold,
                  int32_t* lane, int32_t* position, T* score);
  // out = act((x - centre) * scale + shift), lane by lane, in place.
  void (*affine)(T* x, int64_t rows, int lanes, const T* centre, const T* scale, const T* shift, bool relu);
  // (rows, lanes) to columns of `live` lanes: dst[lane * dst_stride + row].
  void (*to_columns)(const T* src, int64_t rows, int lanes, int64_t live, T* dst, int64_t dst_stride);
  // The reverse, zero where mask is given and not above zero, and zero in the lanes past `live`.
  void (*to_rows)(const T* src, const T* mask, int64_t src_stride, int64_t rows, int lanes, int64_t live,
                  T* dst);
  // total[lane] += sum of rows.
  void (*sum_rows)(const T* rows, int64_t count, int lanes, double* total);
  // Adds each pooled gradient to the words of the window it was kept from.
  void (*scatter_windows)(const Tables<T>& sums, const Words& words, const T* grad, const int32_t* kept,
                          int64_t kept_stride, int64_t windows);
  // The same by position, for windows that do not overlap: every lane that kept position t at once.
  void (*scatter_positions)(const Tables<T>& sums, const Words& words, const PoolTile& tile, const T* grad,
                            const int32_t* kept, int64_t kept_stride);
  // Adds a gradient for every position, rows (end - begin, lanes).
  void (*scatter_rows)(const Tables<T>& sums, const Words& words, int64_t begin, int64_t end, const T* rows);
  // Folds the word sums into out[lane * out_stride + letter * width + column], adding. Spoils the sums.
  void (*fold)(const Tables<T>& sums, int64_t live, int64_t width, double* out);
};

struct CountKernels {
  // One bit a letter in each of four planes; words = ceil(length / 64) are written whole.
  void (*bit_planes)(const uint8_t* codes, int64_t length, uint64_t* const planes[4]);
  // counts[lag * 16 + a * 4 + b] += bits i with plane a at i and plane b at i + lag, for `words` words.
  // Planes are readable for lags / 64 + 9 words more, all zero.
  void (*pair_counts)(const uint64_t* const planes[4], int64_t words, int64_t lags, int64_t* counts);
  // out (rows, size) = x (rows, size) times c (size, size).
  void (*multiply)(const double* x, const double* c, int64_t rows, int64_t size, double* out);
};

// The set in use: the best the processor has, or the one MOTIFKIT_CPU names (generic, avx2, avx512).
template <typename T>
const Kernels<T>& kernels();
const CountKernels& count_kernels();
const char* instruction_set();
const char* available_instruction_sets();    // separated by spaces, from the plainest to the best
bool use_instruction_set(const char* name);  // false where the processor lacks it

}  // namespace motifkit::cpu
