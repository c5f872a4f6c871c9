// How filters lie on a warp, and vectors of them: 32 filters side by side make a block's row, of which each
// thread holds 16 bytes. The threads that hold one row together are a slot; slots of a warp work on different
// windows. Device code alone.
#pragma once

#include "common/geometry.h"
#include "cuda/launch.h"

namespace motifkit::cuda {

constexpr int kWarp = 32;
constexpr int kLanes = 32;        // filters of a block
constexpr int kRow = kLanes + 1;  // of a row that is also read by columns: no two of them in one memory bank
constexpr unsigned kAll = 0xffffffffu;

constexpr int kNowhere = 0x7fffffff;

template <typename T>
struct Slot {
  static constexpr int kElements = 16 / sizeof(T);     // filters a thread
  static constexpr int kThreads = kLanes / kElements;  // a slot
  static constexpr int kSlots = kWarp / kThreads;      // a warp
  static_assert(kThreads * kElements == kLanes && kSlots * kThreads == kWarp, "a warp is whole slots");
};

// The elements of one thread.
template <typename T>
struct alignas(16) Pack {
  static constexpr int kElements = Slot<T>::kElements;
  T at[kElements];

  __device__ __forceinline__ static Pack load(const T* p) { return *reinterpret_cast<const Pack*>(p); }
  __device__ __forceinline__ void add(const Pack& other) {
#pragma unroll
    for (int e = 0; e < kElements; ++e) at[e] += other.at[e];
  }
};

// The largest values so far and where they stood, in positions after some origin. Empty until the first.
template <typename T>
struct Best {
  static constexpr int kElements = Slot<T>::kElements;
  Pack<T> value;
  int where[kElements];

  __device__ __forceinline__ Best() {
#pragma unroll
    for (int e = 0; e < kElements; ++e) where[e] = kNowhere, value.at[e] = 0;
  }
  __device__ __forceinline__ bool empty() const { return where[0] == kNowhere; }
  __device__ __forceinline__ void start(const Pack<T>& z, int position) {
    value = z;
#pragma unroll
    for (int e = 0; e < kElements; ++e) where[e] = position;
  }
  // Values of a later position than any before: a tie stays where it was.
  __device__ __forceinline__ void take(const Pack<T>& z, int position) {
#pragma unroll
    for (int e = 0; e < kElements; ++e) {
      const bool better = z.at[e] > value.at[e];
      value.at[e] = better ? z.at[e] : value.at[e];
      where[e] = better ? position : where[e];
    }
  }
  // `count` windows of a run of words; the first is number `at` of the run and stands at `position`.
  template <typename Reader>
  __device__ __forceinline__ void take_run(const Reader& reader, int at, int position, int count) {
    if (count <= 0) return;
    const int first = empty() ? 1 : 0;
    if (empty()) start(reader.window(at), position);
    reader.each(at + first, count - first, [&](const Pack<T>& z, int i) { take(z, position + first + i); });
  }
  // The best of this slot's and another's, `distance` threads away: of equals the lower position.
  __device__ __forceinline__ void combine_across(int distance) {
#pragma unroll
    for (int e = 0; e < kElements; ++e) {
      const T other = __shfl_xor_sync(kAll, value.at[e], distance);
      const int there = __shfl_xor_sync(kAll, where[e], distance);
      // A filter that holds NaN is NaN everywhere: the lower position it is.
      const bool apart = other == value.at[e] || other != other;
      const bool better =
          there != kNowhere && (where[e] == kNowhere || other > value.at[e] || (apart && there < where[e]));
      value.at[e] = better ? other : value.at[e];
      where[e] = better ? there : where[e];
    }
  }
};

__host__ __device__ inline int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
__host__ __device__ inline int64_t lower(int64_t a, int64_t b) {
  return a < b ? a : b;
}
__host__ __device__ inline int64_t upper(int64_t a, int64_t b) {
  return a > b ? a : b;
}

}  // namespace motifkit::cuda
