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

// out = act((x - centre) * scale + shift), lane by lane; act is ReLU or nothing.
template <typename T>
struct LaneAffine {
  const T *centre, *scale, *shift;
  bool relu;
};

// Where positions are kept, relative to their windows; all bits set where ReLU passes no gradient.
struct Kept {
  void* rows;  // (windows, lanes); may be null
  bool wide;   // int32, not uint8
};

// Windows of one sequence whose gradients are scattered, for the filters of one block.
struct ScatterTile {
  int64_t grad;    // index of the first window of the first filter in the gradients (.., filters, windows)
  int64_t kept;    // index of the first window of the first lane in the kept positions (.., windows, lanes)
  int64_t turned;  // where the tile's kept positions are turned to, in scratch
  int64_t windows;
  uint32_t bits;  // where the tile's bits are; they begin at its first window's first position
};

struct ScatterShape {
  int64_t filters;
  int lanes;            // of the block: the filters and what they are padded with
  int64_t grad_stride;  // from one filter to the next in the gradients
  int64_t stride;       // from one window to the next, in positions
  int64_t features;     // 4 * width rounded up to kBitPadding
  uint32_t half;        // bytes from a tile's even bits to its odd ones
  bool wide;            // kept positions are int32, not uint8
};

inline constexpr int64_t kMostListed = 256;
// The lanes of one window that are above their thresholds, a bit each.
struct LanesAbove {
  uint32_t lanes;
  int32_t position;
};

inline constexpr int64_t kBitSlack = 32;
inline constexpr int kBitPadding = 16;  // features, and windows in scratch, are padded to the widest vector

// Room for one filter's gradients and their places over all tiles (and kBitPadding more), and for the kept
// positions of all tiles, a lane after the other.
template <typename T>
struct ScatterScratch {
  T* value;
  uint32_t* place;
  void* kept;
};

// A pair's table, in whole vectors; and how many words a tile of convolve_pairs reads.
inline constexpr int64_t kPairRows = 32;
inline constexpr int64_t room_for_pairs(int64_t positions, int64_t pairs) {
  return positions + 2 * pairs + 48;
}

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
  // Largest value of each window after the affine (windows, lanes), and the lowest position that holds it.
  void (*pool_tables)(const Tables<T>& tables, const Words& words, const PoolTile& tile,
                      const LaneAffine<T>& affine, T* scratch, T* out, const Kept& kept);
  // The same of rows, as they are; `kept` (windows, lanes) may be null.
  void (*pool_rows)(const T* rows, int64_t first, int lanes, const PoolTile& tile, T* scratch, T* out,
                    int32_t* kept);
  // Convolution at positions [begin, end), (positions, lanes), plus bias[lane].
  void (*convolve)(const Tables<T>& tables, const Words& words, int64_t begin, int64_t end, const T* bias,
                   T* out);
  // The same for the rows of `live` filters in an output, each `length` long, from tables of pairs of letters
  // (live, pairs, kPairRows), pairs even; null where no instruction permutes enough. Writes the cache lines
  // that begin in [begin, end), past the caches where they are whole, and what stands before the first.
  // words[i] is the pair at the first letter of window begin + i, room_for_pairs() of them; copies has 16
  // times that room, 64-byte aligned. begin is a multiple of 16.
  void (*convolve_pairs)(const T* tables, int64_t pairs, int64_t live, const uint32_t* words, int32_t* copies,
                         int64_t begin, int64_t end, int64_t length, const T* bias, T* out);
  // Raises best[lane] and position[lane] over [begin, end). `fresh` starts anew at `begin`.
  void (*best)(const Tables<T>& tables, const Words& words, int64_t begin, int64_t end, bool fresh, T* best,
               int32_t* position);
  // The look-ups of [begin, end), reduced to total[lane] with one maximum a vector: a floor to measure
  // against.
  void (*look_up)(const Tables<T>& tables, const Words& words, int64_t begin, int64_t end, T* total);
  // Windows above threshold[lane], by position then lane. Room for (end - begin) * lanes. Returns how many.
  int64_t (*hits)(const Tables<T>& tables, const Words& words, int64_t begin, int64_t end, const T* threshold,
                  int32_t* lane, int32_t* position, T* score);
  // Windows where some lane scores, with bias[lane], above threshold[lane]; kMostListed windows at most. Room
  // for one more than end - begin. Returns how many.
  int64_t (*above)(const Tables<T>& tables, const Words& words, int64_t begin, int64_t end, const T* bias,
                   const T* threshold, LanesAbove* list);
  // Adds what `above` listed to the words of those windows, in the lanes listed: 1, or where there is a total
  // max(score, least). number[lane] += how many, total[lane] += the same as to the words.
  void (*scatter_above)(const Tables<T>& tables, const Words& words, const T* bias, const LanesAbove* list,
                        int64_t count, T least, const Tables<double>& sums, const Words& places,
                        int64_t* number, double* total);
  // The look-ups of [begin, end), as look_up, and total[lane] += max(score + bias[lane], least).
  void (*summarise)(const Tables<T>& tables, const Words& words, int64_t begin, int64_t end, const T* bias,
                    T least, T* largest, double* total);
  // (rows, lanes) to columns of `live` lanes: dst[lane * dst_stride + row].
  void (*to_columns)(const T* src, int64_t rows, int lanes, int64_t live, T* dst, int64_t dst_stride);
  // The reverse; zero in the lanes past `live`.
  void (*to_rows)(const T* src, int64_t src_stride, int64_t rows, int lanes, int64_t live, T* dst);
  // Copies what will not be read again soon.
  void (*stream)(const T* src, int64_t count, T* dst);
  // total[lane] += sum of rows.
  void (*sum_rows)(const T* rows, int64_t count, int lanes, double* total);
  // Adds gradients (windows, lanes) to the words of the windows they were kept from, position by position;
  // for windows that do not overlap. total[lane] += the gradients that were kept.
  void (*scatter_positions)(const Tables<T>& sums, const Words& words, const PoolTile& tile, const T* grad,
                            bool wide, const void* kept, double* total);
  // The bits of letters [first, first + count): letter i is nibble i - first, 1 << code, or 0 for N. `odd`
  // begins one letter later, so that every letter begins a byte in one of the two. count is even. First
  // `even` is written, then `odd`, each with up to kBitSlack bytes of no meaning behind it.
  void (*one_hot_bits)(const uint8_t* codes, int64_t length, int64_t first, int64_t count, uint8_t* even,
                       uint8_t* odd);
  // Adds each pooled gradient to the letters of the window it was kept from: sums (filters, features),
  // feature 4 * column + letter.
  void (*scatter_windows)(const ScatterTile* tiles, int64_t count, const ScatterShape& shape, const T* grad,
                          const void* kept, const uint8_t* bits, const ScatterScratch<T>& scratch, T* sums,
                          double* total);
  // Adds value[i] to `sums` under the bits at place[i], n times; features as of scatter_windows.
  void (*add_windows)(const uint8_t* bits, const T* value, const uint32_t* place, int64_t n, int64_t features,
                      T* sums);
  // Adds a gradient for every position, rows (end - begin, lanes).
  void (*scatter_rows)(const Tables<T>& sums, const Words& words, int64_t begin, int64_t end, const T* rows);
  // Folds the word sums into out[lane * out_stride + letter * width + column], adding. Spoils the sums.
  void (*fold)(const Tables<T>& sums, int64_t live, int64_t width, double* out);
};

inline constexpr int64_t kProductPadding = 16;
struct CountKernels {
  // One bit a letter in each of four planes; words = ceil(length / 64) are written whole.
  void (*bit_planes)(const uint8_t* codes, int64_t length, uint64_t* const planes[4]);
  // counts[lag * 16 + a * 4 + b] += bits i with plane a at i and plane b at i + lag, for `words` words.
  // Planes are readable for lags / 64 + 9 words more, all zero.
  void (*pair_counts)(const uint64_t* const planes[4], int64_t words, int64_t lags, int64_t* counts);
  // Covariance (size, stride) of one-hot windows from how many of them hold each two letters, and behind each
  // row how frequent its letter is: x times all this has the mean behind it.
  void (*covariance)(const int64_t* gram, int64_t size, int64_t stride, double windows, double* frequency,
                     double* out);
  // out (rows, stride) = x (rows, stride) times c (size, stride), and each row's product with x. The stride
  // is a multiple of kProductPadding, x zero past `size`.
  void (*multiply)(const double* x, const double* c, int64_t rows, int64_t size, int64_t stride, double* out,
                   double* squares);
};

// The set in use: the best the processor has, or the one MOTIFKIT_CPU names (generic, avx2, avx512).
template <typename T>
const Kernels<T>& kernels();
const CountKernels& count_kernels();
const char* instruction_set();
const char* available_instruction_sets();    // separated by spaces, from the plainest to the best
bool use_instruction_set(const char* name);  // false where the processor lacks it

}  // namespace motifkit::cpu
