// Pooling windows that overlap, in time that does not grow with the overlap (van Herk 1992; Gil and Werman
// 1993). The row is cut into periods of one stride. A window is q = size / stride whole periods and the head,
// size % stride positions, of the next; in blocks of q periods, q whole periods are a suffix of one block and
// a prefix of the next. Device code alone.
#pragma once

#include "cuda/lanes.h"

namespace motifkit::cuda {

// A value and where it stood, in positions after the tile's first; `where` is kNowhere for no position at
// all.
template <typename T>
struct Place {
  T value;
  int where;
};

// kMayHoldNaN: NaN wins, the last one in a window, as in PyTorch. Without it a NaN is in all windows or none.
template <bool kMayHoldNaN, typename T>
__device__ __forceinline__ Place<T> later(const Place<T>& a, const Place<T>& b) {
  if (b.where == kNowhere) return a;
  const bool better = a.where == kNowhere || b.value > a.value || (kMayHoldNaN && b.value != b.value);
  return better ? b : a;
}

// The periods of a tile, `lanes` side by side, rows `row` apart.
template <typename T>
struct Periods {
  T *whole, *suffix, *head;  // maxima; head is null where no window needs one
  int *whole_at, *suffix_at, *head_at;
  int lanes, row;

  // Windows of the tile, and what they need of shared memory.
  __host__ __device__ static int64_t bytes(int64_t periods, int64_t row, bool heads) {
    return (periods * row * static_cast<int64_t>(sizeof(T) + sizeof(int)) + 15) / 16 * 16 * (heads ? 3 : 2);
  }
  __device__ Periods(unsigned char* memory, int64_t periods, int lanes_of, int row_of, bool heads)
      : lanes(lanes_of), row(row_of) {
    const int64_t count = periods * row;
    whole = reinterpret_cast<T*>(memory);
    suffix = whole + count;
    head = heads ? suffix + count : nullptr;
    whole_at = reinterpret_cast<int*>(whole + count * (heads ? 3 : 2));
    suffix_at = whole_at + count;
    head_at = heads ? suffix_at + count : nullptr;
  }
  __device__ static Place<T> load(const T* value, const int* where, int at) { return {value[at], where[at]}; }
  __device__ static void store(T* value, int* where, int at, const Place<T>& place) {
    value[at] = place.value;
    where[at] = place.where;
  }

  // From the maxima of periods and heads to those of `count` windows, which take the place of the suffixes.
  // By all threads of a block, one for each lane of a block of periods; starts and ends with a barrier.
  template <bool kMayHoldNaN>
  __device__ void to_windows(int count, int q) {
    const int blocks = static_cast<int>(ceil_div(count, q));
    __syncthreads();
    for (int i = threadIdx.x; i < blocks * lanes; i += blockDim.x) {
      const int lane = i % lanes, first = i / lanes * q;
      Place<T> running{0, kNowhere};
      for (int s = first + q - 1; s >= first; --s) {
        running = later<kMayHoldNaN>(load(whole, whole_at, s * row + lane), running);
        store(suffix, suffix_at, s * row + lane, running);
      }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < blocks * lanes; i += blockDim.x) {
      const int lane = i % lanes, first = i / lanes * q, end = static_cast<int>(lower(first + q, count));
      Place<T> prefix{0, kNowhere};
      for (int j = first; j < end; ++j) {
        const int next = (j + q) * row + lane;
        Place<T> window = later<kMayHoldNaN>(load(suffix, suffix_at, j * row + lane), prefix);
        if (head != nullptr) window = later<kMayHoldNaN>(window, load(head, head_at, next));
        prefix = later<kMayHoldNaN>(prefix, load(whole, whole_at, next));
        store(suffix, suffix_at, j * row + lane, window);
      }
    }
    __syncthreads();
  }
};

}  // namespace motifkit::cuda
