// conv_pool: windows apart in pooling.h, overlapping ones below; gradients in scatter.h.
#include "cuda/overlapping.h"
#include "cuda/pooling_plan.h"
#include "cuda/scatter_plan.h"
#include "ops/conv_pool.h"

namespace motifkit::cuda {
namespace {

// ---- traits

constexpr int kOverlapThreads = 256;

template <typename T>
struct OverlapJob {
  PoolJob<T> pool;  // piece, staged and warps are not used
  int q, rest;      // whole periods of a window, and positions of its head

  __host__ __device__ int periods() const { return pool.windows + q; }
  __host__ __device__ int64_t words() const {
    return (pool.windows - 1) * pool.pool.stride + pool.pool.size + pool.plan.reach();
  }
};

// ---- kernel

// Maxima of the periods of a tile, and of their heads.
template <typename T>
__device__ void fill_periods(const OverlapJob<T>& job, int64_t from, int count,
                             const TableReader<T, kAnyChunks>& reader, Periods<T>& periods) {
  using S = Slot<T>;
  const PoolShape& pool = job.pool.pool;
  const int64_t origin = pool.start(from), first = pool.begin(from);
  const int64_t last = pool.end(from + count - 1, job.pool.conv.out_length());
  const int thread = threadIdx.x % S::kThreads * S::kElements;
  const auto store = [&](T* value, int* where, int s, const Best<T>& best) {
#pragma unroll
    for (int e = 0; e < S::kElements; ++e)
      Periods<T>::store(value, where, s * periods.row + thread + e, {best.value.at[e], best.where[e]});
  };
  for (int s = threadIdx.x / S::kThreads; s < count + job.q; s += blockDim.x / S::kThreads) {
    const int64_t start = pool.start(from + s);
    const int64_t begin = lower(upper(start, first), last),
                  end = upper(begin, lower(start + pool.stride, last));
    const int64_t head = lower(upper(start + job.rest, begin), end);
    Best<T> best;
    best.take_run(reader, static_cast<int>(begin - first), static_cast<int>(begin - origin),
                  static_cast<int>(head - begin));
    if (job.rest > 0) store(periods.head, periods.head_at, s, best);
    best.take_run(reader, static_cast<int>(head - first), static_cast<int>(head - origin),
                  static_cast<int>(end - head));
    store(periods.whole, periods.whole_at, s, best);
  }
}

// The windows' maxima to where they go.
template <typename T>
__device__ void write_windows(const OverlapJob<T>& job, int64_t first, int64_t sequence, int64_t from,
                              int count, const Affine<T>* affine, Periods<T>& periods) {
  const PoolJob<T>& pool = job.pool;
  const int64_t filters = pool.conv.filters, windows = pool.pool.out_length;
  const int live = static_cast<int>(lower(kLanes, filters - first));
  const int padded = static_cast<int>(lower(kLanes, pool.kept_stride - first));
  for (int i = threadIdx.x; i < count * kLanes; i += blockDim.x) {
    const int j = i / kLanes, lane = i % kLanes, at = j * periods.row + lane;
    T y = affine[lane](periods.suffix[at]);
    if (pool.relu && 0 > y) y = 0;
    periods.suffix[at] = y;
    if (pool.kept == nullptr || lane >= padded) continue;
    const int where =
        pool.relu && !(y > 0) ? -1 : static_cast<int>(periods.suffix_at[at] - j * pool.pool.stride);
    const int64_t to = (sequence * windows + from + j) * pool.kept_stride + first + lane;
    if (pool.wide)
      static_cast<int32_t*>(pool.kept)[to] = where;
    else
      static_cast<uint8_t*>(pool.kept)[to] = static_cast<uint8_t>(where);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < count * live; i += blockDim.x) {
    const int lane = i / count, j = i % count;
    pool.out[(sequence * filters + first + lane) * windows + from + j] =
        periods.suffix[j * periods.row + lane];
  }
}

// Grid: x shares out tiles, y is the block of filters.
template <typename T>
__global__ void __launch_bounds__(kOverlapThreads, 1) pool_overlapping_kernel(OverlapJob<T> job) {
  __shared__ TableScratch<T> scratch;
  __shared__ Affine<T> affine[kLanes];
  MK_DYNAMIC_SHARED(unsigned char, memory);
  const PoolJob<T>& pool = job.pool;
  const int64_t first = static_cast<int64_t>(blockIdx.y) * kLanes;
  for (int lane = threadIdx.x; lane < kLanes; lane += blockDim.x) {
    affine[lane] = first + lane < pool.conv.filters ? affine_of(pool.norm, pool.minimum, first + lane)
                                                    : Affine<T>{1, 0, 1, 0};
  }
  const T* tables =
      take_tables<kAnyChunks>(pool.filters(), AffineSigns<T>{pool.norm, pool.minimum}, blockIdx.y, pool.plan,
                              scratch, pool.tables, reinterpret_cast<T*>(memory));
  __syncthreads();
  unsigned char* rest = memory + pool.plan.elements() * sizeof(T);
  Periods<T> periods(rest, job.periods(), kLanes, kRow, job.rest > 0);
  uint8_t* words = rest + Periods<T>::bytes(job.periods(), kRow, job.rest > 0);
  const TableReader<T, kAnyChunks> reader(tables, words, pool.plan, threadIdx.x % Slot<T>::kThreads);
  const int64_t units = pool.conv.batch * pool.tiles;
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const int64_t sequence = unit / pool.tiles, from = unit % pool.tiles * pool.windows;
    const int count = static_cast<int>(lower(pool.windows, pool.pool.out_length - from));
    const int64_t begin = pool.pool.begin(from),
                  end = pool.pool.end(from + count - 1, pool.conv.out_length());
    fill_words(pool.letters(sequence), begin - pool.conv.pad_left,
               static_cast<int>(end - begin) + pool.plan.reach(), pool.plan.chunk, words, threadIdx.x,
               blockDim.x);
    __syncthreads();
    fill_periods(job, from, count, reader, periods);
    periods.template to_windows<false>(count, job.q);
    write_windows(job, first, sequence, from, count, affine, periods);
    __syncthreads();
  }
}

// What the sums become: one block a filter.
template <typename T>
__global__ void __launch_bounds__(kSumThreads, 1)
    conv_pool_gradient_kernel(ScatterJob<T> job, ConvPoolGradParams<T> p) {
  __shared__ double scratch[kSumThreads];
  const int64_t f = blockIdx.x, features = 4 * p.conv.width;
  const double total = sum_groups(job, f, scratch);
  __syncthreads();
  const double* scattered = job.scattered + f * features;
  double products = 0;  // the kept windows' convolutions times their gradients
  for (int64_t i = threadIdx.x; i < features; i += kSumThreads)
    products += scattered[i] * static_cast<double>(p.weight[f * features + i]);
  products = block_sum(products, scratch);
  const FilterGradient gradient(p.norm, f, total, products);
  for (int64_t i = threadIdx.x; i < features; i += kSumThreads) {
    const double count = p.gram == nullptr ? 0 : static_cast<double>(p.gram[i * features + i]);
    const double weight_cov = p.weight_cov == nullptr ? 0 : p.weight_cov[f * features + i];
    p.grad_weight[f * features + i] = static_cast<T>(gradient.weight(scattered[i], count, weight_cov));
  }
  if (threadIdx.x > 0) return;
  p.grad_bias[f] =
      p.norm.windows > 0 ? T(0) : static_cast<T>(total * gradient.scale);  // the mean takes it away
  p.grad_norm_weight[f] = static_cast<T>(gradient.norm_weight);
  p.grad_norm_bias[f] = static_cast<T>(total);
}

// ---- template choice

template <typename T>
PoolJob<T> job_of(const ConvPoolParams<T>& p) {
  PoolJob<T> job{};
  job.conv = p.conv;
  job.pool = p.pool;
  job.norm = p.norm;
  job.weight = p.weight;
  job.codes = p.codes;
  job.codes_stride = p.codes_stride;
  job.minimum = p.minimum;
  job.relu = p.activation == Activation::kRelu;
  job.wide = kept_is_wide(p.pool);
  job.out = p.out;
  job.kept = p.kept;
  job.kept_stride = padded_filters(p.conv.filters);
  return job;
}

// Windows that overlap and whose periods fit beside the smallest tables: true. Others are taken one by one.
template <typename T>
bool plan_overlapping(OverlapJob<T>& job) {
  PoolJob<T>& pool = job.pool;
  if (pool.pool.size <= pool.pool.stride) return false;
  const int64_t limit = shared_memory_limit() - static_cast<int64_t>(sizeof(TableScratch<T>)) -
                        kLanes * static_cast<int64_t>(sizeof(Affine<T>)) - 256;
  const int64_t q = pool.pool.size / pool.pool.stride, rest = pool.pool.size % pool.pool.stride;
  if (q > limit) return false;
  job.q = static_cast<int>(q);
  job.rest = static_cast<int>(rest);
  // A tile evaluates q periods more than it has windows: as long a tile as fits, four times q if it may.
  for (int chunk = 2; chunk >= 1; --chunk) {
    pool.plan = table_plan(pool.conv.width, chunk, true);
    for (int64_t windows = std::min(pool.pool.out_length, std::max<int64_t>(4 * q, 64)); windows > 0;
         windows = windows * 3 / 4) {
      pool.windows = static_cast<int>(windows);
      const int64_t bytes = pool.plan.elements() * static_cast<int64_t>(sizeof(T)) +
                            Periods<T>::bytes(job.periods(), kRow, rest > 0) + job.words();
      const bool worth = 4 * windows >= q || windows == pool.pool.out_length;
      if (worth && bytes <= limit && job.words() < kNowhere) {
        pool.tiles = ceil_div(pool.pool.out_length, windows);
        return true;
      }
    }
  }
  return false;
}

template <typename T>
ScatterJob<T> scatter_job_of(const ConvPoolGradParams<T>& p, void* scratch) {
  ScatterJob<T> job{};
  job.conv = p.conv;
  job.pool = p.pool;
  job.codes = p.codes;
  job.codes_stride = p.codes_stride;
  job.grad = p.grad;
  job.kept = p.kept;
  job.kept_stride = padded_filters(p.conv.filters);
  job.wide = kept_is_wide(p.pool);
  return plan_scatter(job, scratch);
}

}  // namespace

// ---- launch

template <typename T>
int64_t conv_pool_scratch(const ConvPoolParams<T>& p, int device) {
  const DeviceGuard guard(device);
  OverlapJob<T> job{job_of(p), 0, 0};
  if (plan_overlapping(job)) return 0;
  plan_pool_apart(job.pool);
  return built_tables_bytes<T>(job.pool.plan, p.conv.filters);
}

template <typename T>
void conv_pool(const ConvPoolParams<T>& p, const Call& call) {
  if (p.conv.batch == 0 || p.conv.filters == 0) return;
  const DeviceGuard guard(call.device);
  const cudaStream_t stream = stream_of(call);
  OverlapJob<T> job{job_of(p), 0, 0};
  if (plan_overlapping(job)) {
    const int64_t blocks = ceil_div(p.conv.filters, kLanes), units = p.conv.batch * job.pool.tiles;
    const int64_t wanted = std::max<int64_t>(1, 2 * multiprocessors() / blocks);
    const dim3 grid(static_cast<unsigned>(std::min(wanted, units)), static_cast<unsigned>(blocks));
    const int64_t bytes = job.pool.plan.elements() * static_cast<int64_t>(sizeof(T)) +
                          Periods<T>::bytes(job.periods(), kRow, job.rest > 0) + job.words();
    MK_LAUNCH((pool_overlapping_kernel<T>), grid, dim3(kOverlapThreads), bytes, stream, job);
    return;
  }
  plan_pool_apart(job.pool);
  T* tables = static_cast<T*>(call.scratch);
  job.pool.tables = tables;
  build_tables_in_scratch(job.pool.filters(), AffineSigns<T>{p.norm, p.minimum}, job.pool.plan, tables,
                          stream);
  launch_pool_apart(job.pool, stream);
}

template <typename T>
int64_t conv_pool_backward_scratch(const ConvPoolGradParams<T>& p, int device) {
  const DeviceGuard guard(device);
  return scatter_scratch(scatter_job_of(p, nullptr));
}

template <typename T>
void conv_pool_backward(const ConvPoolGradParams<T>& p, const Call& call) {
  if (p.conv.filters == 0) return;
  const DeviceGuard guard(call.device);
  const cudaStream_t stream = stream_of(call);
  const ScatterJob<T> job = scatter_job_of(p, call.scratch);
  launch_scatter(job, stream);
  const dim3 grid(static_cast<unsigned>(p.conv.filters));
  MK_LAUNCH((conv_pool_gradient_kernel<T>), grid, dim3(kSumThreads), 0, stream, job, p);
}

template int64_t conv_pool_scratch<float>(const ConvPoolParams<float>&, int);
template int64_t conv_pool_scratch<double>(const ConvPoolParams<double>&, int);
template void conv_pool<float>(const ConvPoolParams<float>&, const Call&);
template void conv_pool<double>(const ConvPoolParams<double>&, const Call&);
template int64_t conv_pool_backward_scratch<float>(const ConvPoolGradParams<float>&, int);
template int64_t conv_pool_backward_scratch<double>(const ConvPoolGradParams<double>&, int);
template void conv_pool_backward<float>(const ConvPoolGradParams<float>&, const Call&);
template void conv_pool_backward<double>(const ConvPoolGradParams<double>&, const Call&);

}  // namespace motifkit::cuda
