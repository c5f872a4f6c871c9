// onehot_conv1d: pooling.h with windows of one position; gradients in scatter.h.
#include "cuda/pooling_plan.h"
#include "cuda/scatter_plan.h"
#include "ops/onehot_conv1d.h"

namespace motifkit::cuda {
namespace {

// ---- kernel

// Sums over groups: one block a filter.
template <typename T>
__global__ void __launch_bounds__(kSumThreads, 1)
    conv_gradient_kernel(ScatterJob<T> job, double* grad_weight, double* grad_bias) {
  __shared__ double scratch[kSumThreads];
  const int64_t f = blockIdx.x, features = 4 * job.conv.width;
  const double total = sum_groups(job, f, scratch);
  __syncthreads();
  for (int64_t i = threadIdx.x; i < features; i += kSumThreads)
    grad_weight[f * features + i] = job.scattered[f * features + i];
  if (threadIdx.x == 0) grad_bias[f] = total;
}

// ---- template choice

PoolShape every_position(const ConvShape& conv) {
  return {1, 1, 0, conv.out_length()};
}

template <typename T>
PoolJob<T> job_of(const OneHotConvParams<T>& p) {
  PoolJob<T> job{};
  job.conv = p.conv;
  job.pool = every_position(p.conv);
  job.norm.bias = p.bias;
  job.weight = p.weight;
  job.codes = p.codes;
  job.codes_stride = p.codes_stride;
  job.out = p.out;
  plan_pool_apart(job);
  return job;
}

template <typename T>
ScatterJob<T> scatter_job_of(const OneHotConvGradParams<T>& p, void* scratch) {
  ScatterJob<T> job{};
  job.conv = p.conv;
  job.pool = every_position(p.conv);
  job.codes = p.codes;
  job.codes_stride = p.codes_stride;
  job.grad = p.grad;
  return plan_scatter(job, scratch);
}

}  // namespace

// ---- launch

template <typename T>
int64_t onehot_conv1d_scratch(const OneHotConvParams<T>& p, int device) {
  const DeviceGuard guard(device);
  return built_tables_bytes<T>(job_of(p).plan, p.conv.filters);
}

template <typename T>
void onehot_conv1d(const OneHotConvParams<T>& p, const Call& call) {
  if (p.conv.batch == 0 || p.conv.filters == 0) return;
  const DeviceGuard guard(call.device);
  PoolJob<T> job = job_of(p);
  T* tables = static_cast<T*>(call.scratch);
  job.tables = tables;
  build_tables_in_scratch(job.filters(), Unsigned<T>(), job.plan, tables, stream_of(call));
  launch_pool_apart(job, stream_of(call));
}

template <typename T>
int64_t onehot_conv1d_backward_scratch(const OneHotConvGradParams<T>& p, int device) {
  const DeviceGuard guard(device);
  return scatter_scratch(scatter_job_of(p, nullptr));
}

template <typename T>
void onehot_conv1d_backward(const OneHotConvGradParams<T>& p, const Call& call) {
  if (p.conv.filters == 0) return;
  const DeviceGuard guard(call.device);
  const ScatterJob<T> job = scatter_job_of(p, call.scratch);
  launch_scatter(job, stream_of(call));
  const dim3 grid(static_cast<unsigned>(p.conv.filters));
  MK_LAUNCH((conv_gradient_kernel<T>), grid, dim3(kSumThreads), 0, stream_of(call), job, p.grad_weight,
            p.grad_bias);
}

template int64_t onehot_conv1d_scratch<float>(const OneHotConvParams<float>&, int);
template int64_t onehot_conv1d_scratch<double>(const OneHotConvParams<double>&, int);
template void onehot_conv1d<float>(const OneHotConvParams<float>&, const Call&);
template void onehot_conv1d<double>(const OneHotConvParams<double>&, const Call&);
template int64_t onehot_conv1d_backward_scratch<float>(const OneHotConvGradParams<float>&, int);
template int64_t onehot_conv1d_backward_scratch<double>(const OneHotConvGradParams<double>&, int);
template void onehot_conv1d_backward<float>(const OneHotConvGradParams<float>&, const Call&);
template void onehot_conv1d_backward<double>(const OneHotConvGradParams<double>&, const Call&);

}  // namespace motifkit::cuda
