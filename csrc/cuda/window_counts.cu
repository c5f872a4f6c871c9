// window_counts: bit planes in shared memory and popcounts, lag by lag, as on the CPU; what the windows at
// the ends do not hold is taken away after. batch_statistics: in double, a block a filter.
#include "cuda/plan.h"
#include "cuda/scatter.h"
#include "ops/window_counts.h"

namespace motifkit::cuda {
namespace {

// ---- traits

constexpr int kPairs = 16;
constexpr int kCountThreads = 256;
constexpr int64_t kPlaneWords = 64;  // of 32 letters, whose pairs are counted at once

using Count = unsigned long long;

struct CountJob {
  WindowCountsParams p;
  int64_t piece, pieces;      // letters of a sequence counted at once, and how often
  int64_t together, spacing;  // sequences side by side, words apart: so far that no lag reaches the next
  int64_t prefix, suffix;     // letters near the ends that some position of a window never sees
  Count* lags;                // (width, 16): pairs of letters by lag
  Count *heads, *tails;  // (prefix, prefix, 16), (suffix, suffix, 16): pairs near the ends, by place and lag

  explicit CountJob(const WindowCountsParams& of) : p(of) {
    const ConvShape& conv = p.conv;
    piece = std::max<int64_t>(1, std::min(conv.length, kPlaneWords * 32));
    pieces = ceil_div(conv.length, piece);
    spacing = ceil_div(piece + conv.width - 1, 32);
    together = pieces > 1 ? 1 : std::max<int64_t>(1, kPlaneWords / spacing);
    prefix = std::max<int64_t>(0, conv.width - 1 - conv.pad_left);
    suffix = std::max<int64_t>(0, conv.width - 1 - conv.pad_right);
  }
  int64_t bytes() const {
    return (p.conv.width + prefix * prefix + suffix * suffix) * kPairs * static_cast<int64_t>(sizeof(Count));
  }
  int64_t units() const { return pieces > 1 ? p.conv.batch * pieces : ceil_div(p.conv.batch, together); }
  __host__ __device__ int64_t plane() const { return together * spacing + p.conv.width / 32 + 2; }
};

// ---- kernel

// Grid: x shares out runs of sequences, or pieces of a long one.
__global__ void __launch_bounds__(kCountThreads, 1) lags_kernel(CountJob job, int64_t units) {
  MK_DYNAMIC_SHARED(unsigned, planes);  // four of them
  const ConvShape& conv = job.p.conv;
  const int64_t plane = job.plane();
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const int64_t start = job.pieces > 1 ? unit % job.pieces * job.piece : 0;
    const int64_t first = job.pieces > 1 ? unit / job.pieces : unit * job.together;
    __syncthreads();
    for (int64_t i = threadIdx.x; i < plane; i += blockDim.x) {
      const int64_t sequence = first + i / job.spacing, letter = start + i % job.spacing * 32;
      unsigned bits[4] = {0, 0, 0, 0};
      if (i < job.together * job.spacing && sequence < conv.batch) {
        const uint8_t* codes = job.p.codes + sequence * job.p.codes_stride;
        // Letters past the piece are only ever the second of a pair.
        const int64_t end = lower(conv.length, start + job.piece + conv.width - 1);
        for (int k = 0; k < 32 && letter + k < end; ++k) {
          const int code = __ldg(codes + letter + k);
#pragma unroll
          for (int a = 0; a < 4; ++a) bits[a] |= static_cast<unsigned>(code == a) << k;
        }
      }
#pragma unroll
      for (int a = 0; a < 4; ++a) planes[a * plane + i] = bits[a];
    }
    __syncthreads();
    const int64_t words = job.pieces > 1 ? ceil_div(job.piece, 32) : job.together * job.spacing;
    for (int64_t item = threadIdx.x; item < conv.width * kPairs; item += blockDim.x) {
      const int64_t lag = item / kPairs;
      const unsigned* a = planes + item % kPairs / 4 * plane;
      const unsigned* b = planes + item % 4 * plane + lag / 32;
      int count = 0;
      for (int64_t i = 0; i < words; ++i)
        count += __popc(a[i] & __funnelshift_r(b[i], b[i + 1], static_cast<unsigned>(lag % 32)));
      if (count > 0) atomicAdd(job.lags + item, static_cast<Count>(count));
    }
  }
}

// Pairs near one end of every sequence, the front for blockIdx.y 0, else the back: `place` is the first
// letter's distance from that end.
__global__ void ends_kernel(CountJob job) {
  const bool tail = blockIdx.y > 0;
  const ConvShape& conv = job.p.conv;
  const int64_t reach = tail ? job.suffix : job.prefix, used = lower(reach, conv.length);
  const int64_t count = conv.batch * used * used, step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  Count* out = tail ? job.tails : job.heads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    const int64_t lag = i % used, place = i / used % used;
    if (tail ? lag > place : place + lag >= used) continue;
    const uint8_t* codes = job.p.codes + i / (used * used) * job.p.codes_stride;
    const int64_t at = tail ? conv.length - 1 - place : place;
    const int a = __ldg(codes + at), b = __ldg(codes + at + lag);
    if (a < 4 && b < 4) atomicAdd(out + (place * reach + lag) * kPairs + a * 4 + b, Count(1));
  }
}

// From pairs by lag to pairs of window positions: a thread a lag and a pair of letters.
__global__ void gram_kernel(CountJob job) {
  const ConvShape& conv = job.p.conv;
  const int64_t width = conv.width, features = 4 * width;
  const int64_t item = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (item >= width * kPairs) return;
  const int64_t lag = item / kPairs, pair = item % kPairs;
  // Pairs lost so far at the front grow with k; those lost at the back shrink.
  Count front = 0, back = 0;
  for (int64_t u = lag; u < job.suffix; ++u) back += job.tails[(u * job.suffix + lag) * kPairs + pair];
  for (int64_t k = 0; k + lag < width; ++k) {
    if (k > 0) {
      const int64_t gained = k - 1 - conv.pad_left;  // now before the first window's letter k
      if (gained >= 0) front += job.heads[(gained * job.prefix + lag) * kPairs + pair];
      const int64_t returned = width - 1 - k - conv.pad_right;  // now within the last window's reach
      if (returned >= lag && returned < job.suffix)
        back -= job.tails[(returned * job.suffix + lag) * kPairs + pair];
    }
    const int64_t row = pair / 4 * width + k, column = pair % 4 * width + k + lag;
    const int64_t count = static_cast<int64_t>(job.lags[item] - front - back);
    job.p.gram[row * features + column] = count;
    job.p.gram[column * features + row] = count;
  }
}

__global__ void covariance_kernel(const int64_t* gram, int64_t features, double windows, double* covariance) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < features * features;
       i += step) {
    const int64_t row = i / features, column = i % features;
    const double a = static_cast<double>(gram[row * features + row]) / windows;
    const double b = static_cast<double>(gram[column * features + column]) / windows;
    covariance[i] = static_cast<double>(gram[i]) / windows - a * b;
  }
}

template <typename T>
__global__ void __launch_bounds__(kSumThreads, 1)
    statistics_kernel(BatchStatisticsParams<T> p, const double* covariance) {
  __shared__ double scratch[kSumThreads];
  const int64_t f = blockIdx.x, features = p.features;
  const T* w = p.weight + f * features;
  double mean = 0, variance = 0;
  for (int64_t j = threadIdx.x; j < features; j += kSumThreads) {
    double sum = 0;
    for (int64_t i = 0; i < features; ++i) sum += static_cast<double>(w[i]) * covariance[i * features + j];
    p.weight_cov[f * features + j] = sum;
    const double weight = static_cast<double>(w[j]);
    mean += weight * (static_cast<double>(p.gram[j * features + j]) / static_cast<double>(p.windows));
    variance += weight * sum;
  }
  mean = block_sum(mean, scratch);
  variance = block_sum(variance, scratch);
  if (threadIdx.x > 0) return;
  variance = variance < 0 ? 0 : variance;  // a constant filter; NaN stays NaN
  p.mean[f] = static_cast<T>(mean);
  p.variance[f] = static_cast<T>(variance);
  p.running.move(f, mean, variance, p.windows);
}

unsigned blocks_for(int64_t items) {
  return static_cast<unsigned>(std::clamp<int64_t>(ceil_div(items, kCountThreads), 1, 1 << 12));
}

}  // namespace

// ---- launch

int64_t window_counts_scratch(const WindowCountsParams& p, int) {
  return CountJob(p).bytes();
}

void window_counts(const WindowCountsParams& p, const Call& call) {
  const DeviceGuard guard(call.device);
  const cudaStream_t stream = stream_of(call);
  CountJob job(p);
  job.lags = static_cast<Count*>(call.scratch);
  job.heads = job.lags + p.conv.width * kPairs;
  job.tails = job.heads + job.prefix * job.prefix * kPairs;
  MK_CHECK(cudaMemsetAsync(call.scratch, 0, job.bytes(), stream));
  const dim3 threads(kCountThreads);
  if (p.conv.batch * p.conv.length > 0) {
    const int64_t blocks = std::clamp<int64_t>(job.units(), 1, 8 * multiprocessors());
    MK_LAUNCH(lags_kernel, dim3(static_cast<unsigned>(blocks)), threads, 4 * job.plane() * sizeof(unsigned),
              stream, job, job.units());
    const int64_t used = std::min(std::max(job.prefix, job.suffix), p.conv.length);
    if (used > 0)
      MK_LAUNCH(ends_kernel, dim3(blocks_for(p.conv.batch * used * used), 2), threads, 0, stream, job);
  }
  MK_LAUNCH(gram_kernel, dim3(static_cast<unsigned>(ceil_div(p.conv.width * kPairs, kCountThreads))), threads,
            0, stream, job);
}

template <typename T>
int64_t batch_statistics_scratch(const BatchStatisticsParams<T>& p, int) {
  return p.features * p.features * static_cast<int64_t>(sizeof(double));
}

template <typename T>
void batch_statistics(const BatchStatisticsParams<T>& p, const Call& call) {
  if (p.filters == 0) return;
  const DeviceGuard guard(call.device);
  double* covariance = static_cast<double*>(call.scratch);
  MK_LAUNCH(covariance_kernel, dim3(blocks_for(p.features * p.features)), dim3(kCountThreads), 0,
            stream_of(call), p.gram, p.features, static_cast<double>(p.windows), covariance);
  MK_LAUNCH((statistics_kernel<T>), dim3(static_cast<unsigned>(p.filters)), dim3(kSumThreads), 0,
            stream_of(call), p, covariance);
}

template int64_t batch_statistics_scratch<float>(const BatchStatisticsParams<float>&, int);
template int64_t batch_statistics_scratch<double>(const BatchStatisticsParams<double>&, int);
template void batch_statistics<float>(const BatchStatisticsParams<float>&, const Call&);
template void batch_statistics<double>(const BatchStatisticsParams<double>&, const Call&);

}  // namespace motifkit::cuda
