// Sums of gradients over the letters of the windows they belong to. Each warp adds whole words of letters
// into tables of its own, a lane a filter, so that no two threads ever meet and the order is fixed; a block's
// tables are folded to letters in that order, and groups of blocks are summed in double. Device code alone.
// conv_pool backward and, with a gradient for every position, onehot_conv1d backward.
#pragma once

#include "cuda/tables.h"

namespace motifkit::cuda {

constexpr int kScatterWarps = 8;

template <typename T>
struct ScatterJob {
  ConvShape conv;
  PoolShape pool;
  const uint8_t* codes;
  int64_t codes_stride;
  const T* grad;     // (batch, filters, windows)
  const void* kept;  // (batch, windows, kept_stride), relative to the window; null: windows are positions
  int64_t kept_stride;
  bool wide;
  TablePlan plan;   // of the words; all of them, over all column ranges
  int chunks_here;  // of one column range
  int warps;
  int windows;        // a tile, at most
  int64_t tiles;      // a sequence
  int piece;          // positions whose words are held at once; 0: each word is read from the sequence
  int64_t groups;     // of tiles
  double* scattered;  // (groups, filters, 4, width)
  double* total;      // (groups, filters)

  __device__ Letters letters(int64_t sequence) const {
    return {codes + sequence * codes_stride, conv.length};
  }
  __host__ __device__ int64_t sums() const { return static_cast<int64_t>(chunks_here) * plan.rows * kLanes; }
  __host__ __device__ int grad_row() const { return windows | 1; }  // odd: lanes in different banks
  __host__ __device__ int words() const { return piece == 0 ? 0 : piece + (chunks_here - 1) * plan.chunk; }
};

template <typename T>
__host__ __device__ int64_t scatter_bytes(const ScatterJob<T>& job) {
  const int64_t values = job.warps * job.sums() + static_cast<int64_t>(kLanes) * job.grad_row();
  return values * sizeof(T) + static_cast<int64_t>(kLanes) * job.windows * sizeof(int) + job.words();
}

template <typename T>
__device__ int kept_at(const ScatterJob<T>& job, int64_t sequence, int64_t window, int64_t filter) {
  if (job.kept == nullptr) return 0;
  const int64_t at = (sequence * job.pool.out_length + window) * job.kept_stride + filter;
  if (job.wide) return static_cast<const int32_t*>(job.kept)[at];
  const int where = static_cast<const uint8_t*>(job.kept)[at];
  return where == 255 ? -1 : where;
}

// What one window adds to one filter's sums: ten rows are read before any is written, since the
// compiler cannot know that the rows of different chunks are different.
template <typename T, typename WordAt>
__device__ __forceinline__ void add_words(const ScatterJob<T>& job, const WordAt& word_at, int chunks, T g,
                                          T* sums) {
  constexpr int kTogether = 10;
  for (int first = 0; first < chunks; first += kTogether) {
    T* row[kTogether];
    T value[kTogether];
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      if (first + i >= chunks) continue;
      row[i] = sums + (static_cast<int64_t>(first + i) * job.plan.rows + word_at(first + i)) * kLanes;
      value[i] = *row[i] + g;
    }
#pragma unroll
    for (int i = 0; i < kTogether; ++i)
      if (first + i < chunks) *row[i] = value[i];
  }
}

// Folds the warps' word sums to letters, warp after warp, in double.
template <typename T>
__device__ void fold_sums(const ScatterJob<T>& job, int64_t first, int chunk0, int chunks, const T* sums) {
  const int64_t live = lower(kLanes, job.conv.filters - first);
  const int columns =
      static_cast<int>(lower(chunks * job.plan.chunk, job.conv.width - chunk0 * job.plan.chunk));
  double* out = job.scattered + (blockIdx.x * job.conv.filters + first) * 4 * job.conv.width;
  for (int i = threadIdx.x; i < columns * 4 * kLanes; i += blockDim.x) {
    const int lane = i % kLanes, letter = i / kLanes % 4, column = i / (4 * kLanes);
    if (lane >= live) continue;
    int below = 1;  // words with the same letters from this one on
    for (int e = 0; e < column % job.plan.chunk; ++e) below *= kLetters;
    double sum = 0;
    for (int warp = 0; warp < job.warps; ++warp) {
      const T* rows = sums + warp * job.sums() + column / job.plan.chunk * job.plan.rows * kLanes + lane;
      for (int word = 0; word < job.plan.rows; ++word)
        if (word / below % kLetters == letter) sum += static_cast<double>(rows[word * kLanes]);
    }
    out[(lane * 4 + letter) * job.conv.width + chunk0 * job.plan.chunk + column] = sum;
  }
}

// Grid: x is the group, y the block of filters, z the range of columns.
template <typename T>
__global__ void __launch_bounds__(kScatterWarps* kWarp, 1) scatter_kernel(ScatterJob<T> job) {
  __shared__ double totals[kScatterWarps][kLanes];
  MK_DYNAMIC_SHARED(unsigned char, memory);
  T* sums = reinterpret_cast<T*>(memory);
  T* grads = sums + job.warps * job.sums();
  int* places = reinterpret_cast<int*>(grads + kLanes * job.grad_row());  // (windows, 32), as kept_at says
  uint8_t* words = reinterpret_cast<uint8_t*>(places + kLanes * job.windows);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t first = static_cast<int64_t>(blockIdx.y) * kLanes;
  const int chunk0 = static_cast<int>(blockIdx.z) * job.chunks_here;
  const int chunks = static_cast<int>(lower(job.chunks_here, job.plan.chunks - chunk0));
  const bool live = first + lane < job.conv.filters;
  for (int64_t i = threadIdx.x; i < job.warps * job.sums(); i += blockDim.x) sums[i] = 0;

  double total = 0;
  T* mine = sums + warp * job.sums() + lane;
  const int64_t units = job.conv.batch * job.tiles;
  const int64_t last_unit = units * (blockIdx.x + 1) / job.groups;
  for (int64_t unit = units * blockIdx.x / job.groups; unit < last_unit; ++unit) {
    const int64_t sequence = unit / job.tiles, from = unit % job.tiles * job.windows;
    const int count = static_cast<int>(lower(job.windows, job.pool.out_length - from));
    const int64_t begin = job.pool.begin(from);
    // From a position of the convolution to the first letter this block reads of its window.
    const int64_t shift = chunk0 * job.plan.chunk - job.conv.pad_left;
    const Letters letters = job.letters(sequence);
    __syncthreads();  // the tile before is done with
    if (job.piece > 0) {
      const int64_t end = job.pool.end(from + count - 1, job.conv.out_length());
      fill_words(letters, begin + shift, static_cast<int>(end - begin) + (chunks - 1) * job.plan.chunk,
                 job.plan.chunk, words, threadIdx.x, blockDim.x);
    }
    for (int i = threadIdx.x; i < kLanes * count; i += blockDim.x) {
      const int f = i / count, j = i % count;
      grads[f * job.grad_row() + j] =
          first + f < job.conv.filters
              ? job.grad[(sequence * job.conv.filters + first + f) * job.pool.out_length + from + j]
              : T(0);
    }
    for (int i = threadIdx.x; i < kLanes * count; i += blockDim.x) {
      const int f = i % kLanes, j = i / kLanes;
      places[i] = first + f < job.conv.filters ? kept_at(job, sequence, from + j, first + f) : -1;
    }
    __syncthreads();
    T here = 0;
    for (int j = warp; j < count; j += job.warps) {
      const int where = places[j * kLanes + lane];
      if (where < 0) continue;
      const T g = grads[lane * job.grad_row() + j];
      here += g;
      const int64_t position = job.pool.start(from + j) + where;
      if (job.piece > 0) {
        const uint8_t* at = words + (position - begin);
        add_words(
            job, [&](int chunk) { return static_cast<int>(at[chunk * job.plan.chunk]); }, chunks, g, mine);
      } else {
        const auto word = [&](int chunk) {
          return letters.word(position + shift + chunk * job.plan.chunk, job.plan.chunk);
        };
        add_words(job, word, chunks, g, mine);
      }
    }
    total += static_cast<double>(here);
  }
  totals[warp][lane] = total;
  __syncthreads();
  fold_sums(job, first, chunk0, chunks, sums);
  if (warp == 0 && live && blockIdx.z == 0) {
    for (int other = 1; other < job.warps; ++other) total += totals[other][lane];
    job.total[blockIdx.x * job.conv.filters + first + lane] = total;
  }
}

// The sum of one value a thread, in a fixed order, to every thread. 256 threads.
constexpr int kSumThreads = 256;
__device__ inline double block_sum(double value, double* scratch) {
  __syncthreads();
  scratch[threadIdx.x] = value;
  for (int half = kSumThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < half) scratch[threadIdx.x] += scratch[threadIdx.x + half];
  }
  __syncthreads();
  return scratch[0];
}

// Sums the groups of one filter: scattered into its first group, total returned to every thread. One block of
// kSumThreads.
template <typename T>
__device__ double sum_groups(const ScatterJob<T>& job, int64_t filter, double* scratch) {
  const int64_t features = 4 * job.conv.width, row = job.conv.filters * features;
  const int slices = kSumThreads / kWarp, slice = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  for (int64_t base = 0; base < features; base += kWarp) {
    double* out = job.scattered + filter * features + base + lane;
    double sum = 0;
    if (base + lane < features)
      for (int64_t group = slice; group < job.groups; group += slices) sum += out[group * row];
    __syncthreads();
    scratch[threadIdx.x] = sum;
    __syncthreads();
    if (slice == 0 && base + lane < features) {
      for (int other = 1; other < slices; ++other) sum += scratch[other * kWarp + lane];
      *out = sum;
    }
  }
  double sum = 0;
  for (int64_t group = threadIdx.x; group < job.groups; group += kSumThreads)
    sum += job.total[group * job.conv.filters + filter];
  return block_sum(sum, scratch);
}

}  // namespace motifkit::cuda
