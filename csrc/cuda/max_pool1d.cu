// max_pool1d: windows apart one a thread; overlapping ones in overlapping.h, tile by tile of a row. Backward
// gathers: the windows whose maximum stands at a position lie side by side, since indices never fall along a
// row, and are found by bisection.
#include "cuda/overlapping.h"
#include "cuda/plan.h"
#include "ops/max_pool1d.h"

namespace motifkit::cuda {
namespace {

// ---- traits

constexpr int kPoolThreads = 256;

template <typename T>
struct RowJob {
  MaxPoolParams<T> p;
  int q, rest;             // whole periods of a window, and positions of its head
  int windows;             // a tile, at most
  int64_t tiles;           // a row
  int64_t blocks;          // of the grid
  unsigned char* periods;  // in scratch memory, a block after the other, where shared memory is too small

  __host__ __device__ int64_t period_bytes() const {
    return Periods<T>::bytes(static_cast<int64_t>(windows) + q, 1, rest > 0);
  }
};

// ---- kernel

template <typename T>
__device__ __forceinline__ Place<T> best_of(const T* x, int64_t begin, int64_t end, int64_t origin,
                                            Place<T> best) {
  for (int64_t t = begin; t < end; ++t)
    best = later<true>(best, Place<T>{x[t], static_cast<int>(t - origin)});
  return best;
}

template <typename T>
__global__ void pool_apart_kernel(MaxPoolParams<T> p) {
  const int64_t count = p.rows * p.pool.out_length, step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    const int64_t row = i / p.pool.out_length, j = i % p.pool.out_length;
    const int64_t begin = p.pool.begin(j);
    const T* x = p.x + row * p.length;
    T best = x[begin];
    int64_t where = begin;
    for (int64_t t = begin + 1; t < p.pool.end(j, p.length); ++t)
      if (x[t] > best || x[t] != x[t]) best = x[t], where = t;
    p.out[i] = best;
    if (p.indices != nullptr) p.indices[i] = where;
  }
}

template <typename T, bool kShared>
__global__ void __launch_bounds__(kPoolThreads, 1) pool_overlapping_kernel(RowJob<T> job) {
  MK_DYNAMIC_SHARED(unsigned char, memory);
  const MaxPoolParams<T>& p = job.p;
  Periods<T> periods(kShared ? memory : job.periods + blockIdx.x * job.period_bytes(),
                     static_cast<int64_t>(job.windows) + job.q, 1, 1, job.rest > 0);
  for (int64_t unit = blockIdx.x; unit < p.rows * job.tiles; unit += gridDim.x) {
    const int64_t row = unit / job.tiles, from = unit % job.tiles * job.windows;
    const int count = static_cast<int>(lower(job.windows, p.pool.out_length - from));
    const int64_t origin = p.pool.start(from);
    const T* x = p.x + row * p.length;
    for (int s = threadIdx.x; s < count + job.q; s += blockDim.x) {
      const int64_t start = p.pool.start(from + s), begin = upper(start, 0);
      const int64_t end = lower(start + p.pool.stride, p.length), head = lower(start + job.rest, end);
      Place<T> best = best_of(x, begin, head, origin, Place<T>{0, kNowhere});
      if (job.rest > 0) Periods<T>::store(periods.head, periods.head_at, s, best);
      best = best_of(x, upper(begin, head), end, origin, best);
      Periods<T>::store(periods.whole, periods.whole_at, s, best);
    }
    periods.template to_windows<true>(count, job.q);
    for (int j = threadIdx.x; j < count; j += blockDim.x) {
      const int64_t at = row * p.pool.out_length + from + j;
      p.out[at] = periods.suffix[j];
      if (p.indices != nullptr) p.indices[at] = origin + periods.suffix_at[j];
    }
    __syncthreads();
  }
}

// The first of `count` indices that is not below `wanted`.
__device__ inline int64_t first_not_below(const int64_t* indices, int64_t count, int64_t wanted) {
  int64_t begin = 0;
  while (count > 0) {
    const int64_t half = count / 2;
    const bool right = indices[begin + half] < wanted;
    begin += right ? half + 1 : 0;
    count = right ? count - half - 1 : half;
  }
  return begin;
}

template <typename T>
__global__ void pool_gradient_kernel(MaxPoolGradParams<T> p) {
  const int64_t count = p.rows * p.length, step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    const int64_t row = i / p.length, t = i % p.length;
    const int64_t* indices = p.indices + row * p.out_length;
    T sum = 0;
    for (int64_t j = first_not_below(indices, p.out_length, t); j < p.out_length && indices[j] == t; ++j)
      sum += p.grad[row * p.out_length + j];
    p.grad_x[i] = sum;
  }
}

// ---- template choice

// Tiles of some multiples of q windows, in shared memory where they fit.
template <typename T>
RowJob<T> job_of(const MaxPoolParams<T>& p) {
  constexpr int64_t kWindows = 1024, kMostBlocks = 1024;
  if (p.pool.size / p.pool.stride > kNowhere / 4)
    throw std::invalid_argument("pooling window too long for a GPU");
  RowJob<T> job{p,
                static_cast<int>(p.pool.size / p.pool.stride),
                static_cast<int>(p.pool.size % p.pool.stride),
                1,
                1,
                1,
                nullptr};
  const int64_t wanted = std::max<int64_t>(kWindows, 2 * static_cast<int64_t>(job.q));
  job.windows = static_cast<int>(std::max<int64_t>(1, std::min(p.pool.out_length, wanted)));
  job.tiles = ceil_div(p.pool.out_length, job.windows);
  job.blocks = std::min(kMostBlocks, p.rows * job.tiles);
  return job;
}

template <typename T>
bool fits(const RowJob<T>& job) {
  return job.period_bytes() <= shared_memory_limit();
}

unsigned blocks_for(int64_t items) {
  return static_cast<unsigned>(std::clamp<int64_t>(ceil_div(items, kPoolThreads), 1, 1 << 20));
}

}  // namespace

// ---- launch

template <typename T>
int64_t max_pool1d_scratch(const MaxPoolParams<T>& p, int device) {
  if (p.pool.size <= p.pool.stride) return 0;
  const DeviceGuard guard(device);
  const RowJob<T> job = job_of(p);
  return fits(job) ? 0 : job.blocks * job.period_bytes();
}

template <typename T>
void max_pool1d(const MaxPoolParams<T>& p, const Call& call) {
  if (p.rows == 0) return;
  const DeviceGuard guard(call.device);
  const cudaStream_t stream = stream_of(call);
  if (p.pool.size <= p.pool.stride) {
    MK_LAUNCH((pool_apart_kernel<T>), dim3(blocks_for(p.rows * p.pool.out_length)), dim3(kPoolThreads), 0,
              stream, p);
    return;
  }
  RowJob<T> job = job_of(p);
  job.periods = static_cast<unsigned char*>(call.scratch);
  const dim3 grid(static_cast<unsigned>(job.blocks)), threads(kPoolThreads);
  if (fits(job)) {
    MK_LAUNCH((pool_overlapping_kernel<T, true>), grid, threads, job.period_bytes(), stream, job);
  } else {
    MK_LAUNCH((pool_overlapping_kernel<T, false>), grid, threads, 0, stream, job);
  }
}

template <typename T>
void max_pool1d_backward(const MaxPoolGradParams<T>& p, const Call& call) {
  if (p.rows == 0) return;
  const DeviceGuard guard(call.device);
  MK_LAUNCH((pool_gradient_kernel<T>), dim3(blocks_for(p.rows * p.length)), dim3(kPoolThreads), 0,
            stream_of(call), p);
}

template int64_t max_pool1d_scratch<float>(const MaxPoolParams<float>&, int);
template int64_t max_pool1d_scratch<double>(const MaxPoolParams<double>&, int);
template void max_pool1d<float>(const MaxPoolParams<float>&, const Call&);
template void max_pool1d<double>(const MaxPoolParams<double>&, const Call&);
template void max_pool1d_backward<float>(const MaxPoolGradParams<float>&, const Call&);
template void max_pool1d_backward<double>(const MaxPoolGradParams<double>&, const Call&);

}  // namespace motifkit::cuda
