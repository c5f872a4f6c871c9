// The largest value of each pooling window, taken from word tables, through an affine and an activation: each
// warp for itself, window by window. Device code alone. conv_pool and, with windows of one position,
// onehot_conv1d.
#pragma once

#include "common/norm.h"
#include "cuda/tables.h"

namespace motifkit::cuda {

template <typename T>
struct PoolJob {
  ConvShape conv;
  PoolShape pool;
  NormParams<T> norm;
  const T* weight;
  const uint8_t* codes;
  int64_t codes_stride;
  bool minimum, relu, wide;
  T* out;               // (batch, filters, windows)
  void* kept;           // (batch, windows, kept_stride), or null
  int64_t kept_stride;  // padded filters
  TablePlan plan;
  const T* tables;  // in scratch memory, or null
  int windows;      // a tile, at most
  int64_t tiles;    // a sequence
  int piece;        // positions whose words are held at once
  int staged;       // outputs turned at once, a power of two
  int warps;

  __host__ __device__ Filters<T> filters() const {
    return {weight, conv.filters, static_cast<int>(conv.width), 1, true};
  }
  __device__ Letters letters(int64_t sequence) const {
    return {codes + sequence * codes_stride, conv.length};
  }
};

template <typename T>
struct AffineSigns {
  NormParams<T> norm;
  bool minimum;
  __device__ T operator()(int64_t f) const { return affine_of(norm, minimum, f).sign; }
};

// One thread's elements of the affine, and where its results go.
template <typename T>
struct PoolWriter {
  static constexpr int kElements = Slot<T>::kElements;
  const PoolJob<T>& job;
  int64_t first;  // filter of lane 0
  Affine<T> affine[kElements];

  __device__ PoolWriter(const PoolJob<T>& of, int64_t filter, int thread) : job(of), first(filter) {
#pragma unroll
    for (int e = 0; e < kElements; ++e) {
      const int64_t f = first + thread * kElements + e;
      affine[e] = f < job.conv.filters ? affine_of(job.norm, job.minimum, f) : Affine<T>{1, 0, 1, 0};
    }
  }
  __device__ __forceinline__ T activated(int e, T x) const {
    const T y = affine[e](x);
    return job.relu && 0 > y ? T(0) : y;
  }
  // Positions relative to their window; all bits set where ReLU passes no gradient.
  __device__ __forceinline__ int kept(T y, int where) const { return job.relu && !(y > 0) ? -1 : where; }
};

// Stores the kept positions of one window, this thread's elements side by side.
template <typename Stored, int kElements>
__device__ __forceinline__ void store_kept(void* kept, int64_t at, const int (&where)[kElements]) {
  struct alignas(sizeof(Stored) * kElements) Together {
    Stored element[kElements];
  } together;
#pragma unroll
  for (int e = 0; e < kElements; ++e) together.element[e] = static_cast<Stored>(where[e]);
  *reinterpret_cast<Together*>(static_cast<Stored*>(kept) + at) = together;
}

template <typename T>
__device__ __forceinline__ void finish_window(const PoolWriter<T>& writer, const Best<T>& best,
                                              int64_t sequence, int64_t window, int thread, T* row) {
  const PoolJob<T>& job = writer.job;
  int where[Slot<T>::kElements];
#pragma unroll
  for (int e = 0; e < Slot<T>::kElements; ++e) {
    const T y = writer.activated(e, best.value.at[e]);
    row[thread * Slot<T>::kElements + e] = y;
    where[e] = writer.kept(y, best.where[e]);
  }
  const int64_t lane = writer.first + thread * Slot<T>::kElements;
  if (job.kept == nullptr || lane >= job.kept_stride) return;
  const int64_t at = (sequence * job.pool.out_length + window) * job.kept_stride + lane;
  if (job.wide)
    store_kept<int32_t>(job.kept, at, where);
  else
    store_kept<uint8_t>(job.kept, at, where);
}

// Rows of staged windows, turned to columns of the output, by one warp.
template <typename T>
__device__ void write_columns(const PoolJob<T>& job, int64_t first, int64_t sequence, int64_t window,
                              int count, const T* rows, int lane) {
  const int live = static_cast<int>(lower(kLanes, job.conv.filters - first));
  const int column = lane & (job.staged - 1);
  for (int f = lane / job.staged; f < live; f += kWarp / job.staged)
    if (column < count)
      job.out[(sequence * job.conv.filters + first + f) * job.pool.out_length + window + column] =
          rows[column * kRow + f];
}

// One warp's share of shared memory, and its work.
template <typename T, int kChunks>
struct PoolWarp {
  using S = Slot<T>;
  const PoolJob<T>& job;
  PoolWriter<T> writer;
  TableReader<T, kChunks> reader;
  uint8_t* words;
  T* rows;
  int lane, slot, thread;

  __device__ PoolWarp(const PoolJob<T>& of, const T* tables, int64_t first, uint8_t* run, T* stage)
      : job(of),
        writer(of, first, threadIdx.x % S::kThreads),
        reader(tables, run, of.plan, threadIdx.x % S::kThreads),
        words(run),
        rows(stage),
        lane(threadIdx.x % kWarp),
        slot(lane / S::kThreads),
        thread(lane % S::kThreads) {}

  __device__ void fill(int64_t sequence, int64_t begin, int64_t end) {
    __syncwarp();  // nobody reads the words before these any more
    fill_words(job.letters(sequence), begin - job.conv.pad_left,
               static_cast<int>(end - begin) + job.plan.reach(), job.plan.chunk, words, lane, kWarp);
    __syncwarp();
  }

  __device__ void combine(Best<T>& best, int slots) {
    for (int distance = S::kThreads; distance < S::kThreads * slots; distance *= 2)
      best.combine_across(distance);
  }

  __device__ void write(int64_t sequence, int64_t window, int count) {
    __syncwarp();
    write_columns(job, writer.first, sequence, window, count, rows, lane);
    __syncwarp();
  }

  // Windows [from, to) of one sequence, whose words fit. Few windows share the slots between them.
  __device__ void whole_windows(int64_t sequence, int64_t from, int64_t to) {
    const int64_t length = job.conv.out_length(), first = job.pool.begin(from);
    fill(sequence, first, job.pool.end(to - 1, length));
    for (int64_t sub = from; sub < to; sub += job.staged) {
      const int count = static_cast<int>(lower(job.staged, to - sub));
      const int parts = count == 1 ? S::kSlots : count == 2 ? (S::kSlots + 1) / 2 : 1;
      const int together = S::kSlots / parts, part = slot % parts;
      for (int base = 0; base < count; base += together) {
        const int item = base + slot / parts;
        const int64_t window = sub + item;
        Best<T> best;
        if (item < count) {
          const int64_t begin = job.pool.begin(window), size = job.pool.end(window, length) - begin;
          const int skip = static_cast<int>(size * part / parts),
                    stop = static_cast<int>(size * (part + 1) / parts);
          best.take_run(reader, static_cast<int>(begin - first) + skip,
                        static_cast<int>(begin - job.pool.start(window)) + skip, stop - skip);
        }
        combine(best, parts);
        if (item < count && part == 0)
          finish_window(writer, best, sequence, window, thread, rows + item * kRow);
      }
      write(sequence, sub, count);
    }
  }

  // One window whose words do not fit: piece by piece, each piece shared between the slots.
  __device__ void window_in_pieces(int64_t sequence, int64_t window) {
    const int64_t end = job.pool.end(window, job.conv.out_length());
    Best<T> best;
    for (int64_t begin = job.pool.begin(window); begin < end; begin += job.piece) {
      const int count = static_cast<int>(lower(job.piece, end - begin));
      fill(sequence, begin, begin + count);
      const int skip = count * slot / S::kSlots, stop = count * (slot + 1) / S::kSlots;
      best.take_run(reader, skip, static_cast<int>(begin - job.pool.start(window)) + skip, stop - skip);
    }
    combine(best, S::kSlots);
    if (slot == 0) finish_window(writer, best, sequence, window, thread, rows);
    write(sequence, window, 1);
  }
};

constexpr int kPoolThreads = 512;

template <typename T>
__host__ __device__ int64_t pool_warp_bytes(const PoolJob<T>& job) {
  const int64_t words = (job.piece + job.plan.reach() + 15) / 16 * 16;
  return words + (job.staged * kRow * static_cast<int64_t>(sizeof(T)) + 15) / 16 * 16;
}

// Grid: x shares out tiles, y is the block of filters.
template <typename T, int kChunks>
__global__ void __launch_bounds__(kPoolThreads, 1) pool_apart_kernel(PoolJob<T> job) {
  __shared__ TableScratch<T> scratch;
  MK_DYNAMIC_SHARED(unsigned char, memory);
  T* place = reinterpret_cast<T*>(memory);
  unsigned char* mine = memory + (job.plan.shared ? job.plan.elements() * sizeof(T) : 0) +
                        threadIdx.x / kWarp * pool_warp_bytes(job);
  const T* tables = take_tables<kChunks>(job.filters(), AffineSigns<T>{job.norm, job.minimum}, blockIdx.y,
                                         job.plan, scratch, job.tables, place);
  // Rows first: the words after them need no alignment.
  T* rows = reinterpret_cast<T*>(mine);
  uint8_t* words = mine + (job.staged * kRow * sizeof(T) + 15) / 16 * 16;
  PoolWarp<T, kChunks> warp(job, tables, static_cast<int64_t>(blockIdx.y) * kLanes, words, rows);
  const int64_t units = job.conv.batch * job.tiles;
  const int64_t step = static_cast<int64_t>(gridDim.x) * job.warps;
  // Blocks first, then warps: few tiles are spread over the whole device.
  for (int64_t unit = blockIdx.x + static_cast<int64_t>(gridDim.x) * (threadIdx.x / kWarp); unit < units;
       unit += step) {
    const int64_t sequence = unit / job.tiles, from = unit % job.tiles * job.windows;
    if (job.pool.size <= job.piece)
      warp.whole_windows(sequence, from, lower(from + job.windows, job.pool.out_length));
    else
      warp.window_in_pieces(sequence, from);
  }
}

}  // namespace motifkit::cuda
