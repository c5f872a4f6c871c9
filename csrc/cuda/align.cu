// align: the hits of each filter, in their order, cut into shares; a thread counts one column of a share in
// registers, and the shares are summed in order. Unweighted counts are 64-bit integers.
#include "cuda/lanes.h"
#include "cuda/plan.h"
#include "ops/align.h"

namespace motifkit::cuda {
namespace {

// ---- traits

constexpr int64_t kShares = 16;  // of a filter's hits: a constant, so that the order of additions is one
constexpr int kAlignThreads = 128;

struct AlignJob {
  AlignParams p;
  const int64_t* order;  // hits by filter, those of one filter in their order
  void* partial;         // (kShares, filters, 4, width): double where weighted, else int64
  int* bad;              // (filters + 1): filters with a hit in no sequence; last, hits of no filter

  __host__ __device__ int64_t cells() const { return p.filters * 4 * p.width; }
};

// ---- kernel

// The first hit, in order, whose filter is not below `wanted`.
__device__ inline int64_t first_of(const AlignJob& job, int64_t wanted) {
  int64_t begin = 0, count = job.p.hits;
  while (count > 0) {
    const int64_t half = count / 2;
    const bool right = job.p.filter[job.order[begin + half]] < wanted;
    begin += right ? half + 1 : 0;
    count = right ? count - half - 1 : half;
  }
  return begin;
}

// Grid: x is the filter, y the share.
template <typename Sum>
__global__ void __launch_bounds__(kAlignThreads, 1) count_kernel(AlignJob job) {
  __shared__ int64_t range[2];
  const AlignParams& p = job.p;
  const int64_t filter = blockIdx.x, share = blockIdx.y;
  if (threadIdx.x < 2) range[threadIdx.x] = first_of(job, filter + threadIdx.x);
  __syncthreads();
  const int64_t begin = range[0], hits = range[1] - begin;
  const int64_t last = begin + hits * (share + 1) / kShares;
  Sum* out = static_cast<Sum*>(job.partial) + share * job.cells() + filter * 4 * p.width;
  for (int64_t column = threadIdx.x; column < p.width; column += blockDim.x) {
    Sum counts[4] = {0, 0, 0, 0};
    for (int64_t i = begin + hits * share / kShares; i < last; ++i) {
      const int64_t hit = job.order[i], sequence = p.sequence[hit];
      if (sequence < 0 || sequence >= p.batch) {
        atomicOr(job.bad + filter, 1);
        continue;
      }
      const bool forward = p.strand[hit] >= 0;
      const int64_t at = p.position[hit] + p.offset + (forward ? column : p.width - 1 - column);
      if (at < 0 || at >= p.length) continue;
      const int code = __ldg(p.codes + sequence * p.codes_stride + at);
      if (code > 3) continue;
      const Sum weight = p.weights == nullptr ? Sum(1) : static_cast<Sum>(p.weights[hit]);
      const int seen = forward ? code : 3 - code;
#pragma unroll  // adding 0 to the others keeps all four in registers
      for (int letter = 0; letter < 4; ++letter) counts[letter] += seen == letter ? weight : Sum(0);
    }
#pragma unroll
    for (int letter = 0; letter < 4; ++letter) out[letter * p.width + column] = counts[letter];
  }
  // Sorted by filter: hits of no filter stand at either end.
  if (filter == 0 && share == 0 && threadIdx.x == 0 && p.hits > 0)
    job.bad[p.filters] = p.filter[job.order[0]] < 0 || p.filter[job.order[p.hits - 1]] >= p.filters;
}

template <typename Sum>
__global__ void sum_kernel(AlignJob job) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < job.cells(); i += step) {
    const Sum* partial = static_cast<const Sum*>(job.partial) + i;
    Sum sum = 0;
    for (int64_t share = 0; share < kShares; ++share) sum += partial[share * job.cells()];
    const bool bad = job.bad[i / (4 * job.p.width)] || job.bad[job.p.filters];
    job.p.counts[i] = bad ? static_cast<double>(NAN) : static_cast<double>(sum);
  }
}

// ---- template choice

template <typename Sum>
void run(const AlignJob& job, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(job.p.filters), static_cast<unsigned>(kShares));
  MK_LAUNCH((count_kernel<Sum>), grid, dim3(kAlignThreads), 0, stream, job);
  const int64_t blocks = std::min<int64_t>(ceil_div(job.cells(), 256), 1 << 16);
  MK_LAUNCH((sum_kernel<Sum>), dim3(static_cast<unsigned>(blocks)), dim3(256), 0, stream, job);
}

}  // namespace

// ---- launch

int64_t align_scratch(const AlignParams& p, int) {
  return kShares * p.filters * 4 * p.width * static_cast<int64_t>(sizeof(double)) +
         (p.filters + 1) * static_cast<int64_t>(sizeof(int));
}

void align(const AlignParams& p, const int64_t* order, const Call& call) {
  if (p.filters * p.width == 0) return;
  const DeviceGuard guard(call.device);
  AlignJob job{p, order, call.scratch, nullptr};
  job.bad = reinterpret_cast<int*>(static_cast<double*>(call.scratch) + kShares * job.cells());
  MK_CHECK(cudaMemsetAsync(job.bad, 0, (p.filters + 1) * sizeof(int), stream_of(call)));
  if (p.weights == nullptr)
    run<long long>(job, stream_of(call));
  else
    run<double>(job, stream_of(call));
}

}  // namespace motifkit::cuda
