// Word tables and the words that read them. A filter is cut into chunks of `chunk` letters; for each chunk
// and each of the 5^chunk words over A, C, G, T, N a row holds the chunk's partial sums of a block's 32
// filters. A window is then one row a chunk. Device code alone.
#pragma once

#include "cuda/lanes.h"

namespace motifkit::cuda {

constexpr int kLetters = 5;   // A, C, G, T, N
constexpr int kMaxChunk = 3;  // a word's number fits a byte: 5^3 = 125

// How many look-ups a window takes, where that is fixed at compile time, with the words' length; else one of
// the first two.
constexpr int kAnyChunks = 0;
constexpr int kScratchTables = -1;  // any number, and the tables lie in scratch memory
constexpr int kSevenOfThree = 7;    // widths 19 to 21
constexpr int kTenOfTwo = 10;       // widths 19 and 20

__host__ __device__ constexpr int fixed_chunk(int chunks) {
  return chunks == kSevenOfThree ? 3 : chunks == kTenOfTwo ? 2 : 0;
}

// Which tables a launch uses. Where none fits into shared memory they lie in scratch memory, built once.
struct TablePlan {
  int width, chunk, chunks, rows;  // rows: words of one chunk, 5^chunk
  bool shared;
  // Whether these are the look-ups that `fixed` names: a number and a length that kernels are compiled for.
  __host__ __device__ bool is(int fixed) const {
    return shared && chunks == fixed && chunk == fixed_chunk(fixed);
  }
  __host__ __device__ int64_t elements() const { return static_cast<int64_t>(chunks) * rows * kLanes; }
  __host__ __device__ int reach() const { return (chunks - 1) * chunk; }  // of a window's last word
};

// Weights of a convolution, (filters, 4, width), as the lanes of a block see them.
template <typename T>
struct Filters {
  const T* weight;
  int64_t count;  // lanes in all blocks
  int width;
  int strands;         // 1, or 2: each filter forward and reverse complemented, on neighbouring lanes
  bool first_forward;  // whether the first of a filter's strands is the forward one

  __device__ int64_t filter(int64_t lane) const { return lane / strands; }
  __device__ bool forward(int64_t lane) const { return first_forward && (strands == 1 || lane % 2 == 0); }
  __device__ T at(int64_t lane, int letter, int column) const {
    const T* w = weight + filter(lane) * 4 * width;
    return forward(lane) ? w[letter * width + column] : w[(3 - letter) * width + width - 1 - column];
  }
};

// What a block needs beside its tables while it builds them.
template <typename T>
struct TableScratch {
  T letters[kMaxChunk * kLetters * kLanes];  // partial sums of single letters
  int spoilt[kLanes];                        // filters with a weight that is not finite
  T sign[kLanes];
};

// Builds the tables of lanes first ... first + 31, each times scratch.sign[lane], which is set already. By
// all threads of a block; ends with a barrier.
template <typename T>
__device__ void build_tables(const Filters<T>& filters, int64_t first, const TablePlan& plan,
                             TableScratch<T>& scratch, T* tables) {
  const int live = static_cast<int>(lower(kLanes, filters.count - first)), thread = threadIdx.x;
  for (int lane = thread; lane < kLanes; lane += blockDim.x) scratch.spoilt[lane] = 0;
  __syncthreads();
  // A dense sum would hold 0 * inf, or NaN, wherever such a weight does not stand under its letter.
  for (int i = thread; i < live * 4 * plan.width; i += blockDim.x) {
    const int lane = i / (4 * plan.width), at = i % (4 * plan.width);
    const T w = filters.weight[filters.filter(first + lane) * 4 * plan.width + at];
    if (!(w * 0 == 0)) atomicOr(&scratch.spoilt[lane], 1);
  }
  for (int chunk = 0; chunk < plan.chunks; ++chunk) {
    __syncthreads();
    for (int i = thread; i < plan.chunk * kLetters * kLanes; i += blockDim.x) {
      const int lane = i % kLanes, letter = i / kLanes % kLetters,
                column = chunk * plan.chunk + i / (kLanes * kLetters);
      T value = 0;
      if (lane < live && letter < 4 && column < plan.width)
        value = filters.at(first + lane, letter, column) * scratch.sign[lane];
      if (column == 0 && scratch.spoilt[lane]) value = static_cast<T>(NAN);
      scratch.letters[i] = value;
    }
    __syncthreads();
    T* rows = tables + static_cast<int64_t>(chunk) * plan.rows * kLanes;
    for (int i = thread; i < plan.rows * kLanes; i += blockDim.x) {
      const int lane = i % kLanes;
      int word = i / kLanes;
      T sum = 0;
      for (int e = 0; e < plan.chunk; ++e, word /= kLetters) {
        const T letter = scratch.letters[(e * kLetters + word % kLetters) * kLanes + lane];
        sum = e == 0 ? letter : sum + letter;
      }
      rows[i] = sum;
    }
  }
  __syncthreads();
}

// A sequence: letters outside it, and codes above 4, read as N.
struct Letters {
  const uint8_t* codes;
  int64_t length;

  __device__ int at(int64_t i) const {
    if (i < 0 || i >= length) return 4;
    const int code = __ldg(codes + i);
    return code < 4 ? code : 4;
  }
  __device__ int word(int64_t first, int chunk) const {
    int word = 0;
    for (int e = chunk - 1; e >= 0; --e) word = word * kLetters + at(first + e);
    return word;
  }
};

// words[i] = the word that begins at letter first + i, by the threads `thread` of `threads`.
__device__ inline void fill_words(const Letters& letters, int64_t first, int count, int chunk, uint8_t* words,
                                  int thread, int threads) {
  for (int i = thread; i < count; i += threads)
    words[i] = static_cast<uint8_t>(letters.word(first + i, chunk));
}

// One thread's elements of the windows of a run of words.
template <typename T, int kChunks>
struct TableReader {
  static constexpr int kChunk = fixed_chunk(kChunks);
  const T* tables;  // this thread's elements of the first row
  const uint8_t* words;
  int chunk, chunks, chunk_elements;

  __device__ TableReader(const T* rows, const uint8_t* run, const TablePlan& plan, int thread)
      : tables(rows + thread * Slot<T>::kElements),
        words(run),
        chunk(kChunk > 0 ? kChunk : plan.chunk),
        chunks(kChunk > 0 ? kChunks : plan.chunks),
        chunk_elements((kChunk == 3   ? 125
                        : kChunk == 2 ? 25
                                      : plan.rows) *
                       kLanes) {}

  // The window whose first word is number `at` of the run.
  __device__ __forceinline__ Pack<T> window(int at) const {
    const uint8_t* word = words + at;
    const T* rows = tables;
    Pack<T> z = Pack<T>::load(rows + *word * kLanes);
#pragma unroll
    for (int j = 1; j < (kChunk > 0 ? kChunks : chunks); ++j) {
      word += chunk;
      rows += chunk_elements;
      z.add(Pack<T>::load(rows + *word * kLanes));
    }
    return z;
  }

  // body(window at + i, i) for i in [0, count), in order.
  template <typename Body>
  __device__ __forceinline__ void each(int at, int count, const Body& body) const {
    int i = 0;
    if constexpr (kChunk > 0) {
      if (count >= 2 * kChunk) i = each_rolling(at, count, body);
    }
    for (; i < count; ++i) body(window(at + i), i);
  }

  // The words of a window are those of the window kChunk before it, each moved on by one chunk, and a new
  // one: they stay in registers, a set for each remainder of kChunk, and a window costs one read of a word.
  // Returns how many windows it did: whole sets.
  template <typename Body>
  __device__ __forceinline__ int each_rolling(int at, int count, const Body& body) const {
    int row[kChunk][kChunks];  // the words' rows, in elements after the first
    const uint8_t* next = words + at;
#pragma unroll
    for (int j = 1; j < kChunks; ++j)
#pragma unroll
      for (int r = 0; r < kChunk; ++r) row[r][j] = *next++ * kLanes;
    int i = 0;
    for (; i + kChunk <= count; i += kChunk)
#pragma unroll
      for (int r = 0; r < kChunk; ++r) {
#pragma unroll
        for (int j = 1; j < kChunks; ++j) row[r][j - 1] = row[r][j];
        row[r][kChunks - 1] = *next++ * kLanes;
        Pack<T> z = Pack<T>::load(tables + row[r][0]);
#pragma unroll
        for (int j = 1; j < kChunks; ++j) z.add(Pack<T>::load(tables + j * chunk_elements + row[r][j]));
        body(z, i + r);
      }
    return i;
  }
};

// Tables in scratch memory, for filters too wide for any in shared memory. signs(lane): as in TableScratch.
template <typename T, typename Signs>
__global__ void tables_kernel(Filters<T> filters, Signs signs, TablePlan plan, T* tables) {
  __shared__ TableScratch<T> scratch;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kLanes;
  for (int lane = threadIdx.x; lane < kLanes; lane += blockDim.x)
    scratch.sign[lane] = first + lane < filters.count ? signs(first + lane) : T(1);
  build_tables(filters, first, plan, scratch, tables + blockIdx.x * plan.elements());
}

// This block's tables: built into shared memory at `place`, or those in scratch memory. Which of the two is
// known at compile time, so that the compiler knows what memory it reads.
template <int kChunks, typename T, typename Signs>
__device__ __forceinline__ const T* take_tables(const Filters<T>& filters, const Signs& signs, int64_t block,
                                                const TablePlan& plan, TableScratch<T>& scratch,
                                                const T* built, T* place) {
  if constexpr (kChunks == kScratchTables) return built + block * plan.elements();
  const int64_t first = block * kLanes;
  for (int lane = threadIdx.x; lane < kLanes; lane += blockDim.x)
    scratch.sign[lane] = first + lane < filters.count ? signs(first + lane) : T(1);
  build_tables(filters, first, plan, scratch, place);
  return place;
}

// Every lane as it is.
template <typename T>
struct Unsigned {
  __device__ T operator()(int64_t) const { return 1; }
};

}  // namespace motifkit::cuda
