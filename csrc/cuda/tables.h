// Word tables and the words that read them. A filter is cut into chunks of `chunk` letters; for each chunk
// and each of the 5^chunk words over A, C, G, T, N a row holds the chunk's partial sums of a block's 32
// filters. A window is then one row a chunk. Device code alone.
#pragma once

#include "cuda/lanes.h"

namespace motifkit::cuda {

constexpr int kLetters = 5;   // A, C, G, T, N
constexpr int kMaxChunk = 3;  // a word's number fits a byte: 5^3 = 125

// Which tables a launch uses. Where none fits into shared memory they lie in scratch memory, built once.
struct TablePlan {
  int width, chunk, chunks, rows;  // rows: words of one chunk, 5^chunk
  bool shared;
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

// One thread's elements of the windows of a run of words. kChunks fixes the number of look-ups at compile
// time; 0 leaves it to run time.
template <typename T, int kChunks>
struct TableReader {
  const T* tables;  // this thread's elements of the first row
  const uint8_t* words;
  int chunk, chunks, chunk_elements;

  __device__ TableReader(const T* rows, const uint8_t* run, const TablePlan& plan, int thread)
      : tables(rows + thread * Slot<T>::kElements),
        words(run),
        chunk(plan.chunk),
        chunks(kChunks > 0 ? kChunks : plan.chunks),
        chunk_elements(plan.rows * kLanes) {}

  // The window whose first word is number `at` of the run.
  __device__ __forceinline__ Pack<T> window(int at) const {
    const uint8_t* word = words + at;
    const T* rows = tables;
    Pack<T> z = Pack<T>::load(rows + *word * kLanes);
#pragma unroll
    for (int j = 1; j < (kChunks > 0 ? kChunks : chunks); ++j) {
      word += chunk;
      rows += chunk_elements;
      z.add(Pack<T>::load(rows + *word * kLanes));
    }
    return z;
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

// This block's tables: built into shared memory at `place`, or those in scratch memory.
template <typename T, typename Signs>
__device__ const T* take_tables(const Filters<T>& filters, const Signs& signs, int64_t block,
                                const TablePlan& plan, TableScratch<T>& scratch, const T* built, T* place) {
  if (!plan.shared) return built + block * plan.elements();
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
