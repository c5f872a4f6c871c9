// What the host decides for scatter.h, and its launch.
#pragma once

#include "cuda/plan.h"
#include "cuda/scatter.h"

namespace motifkit::cuda {

constexpr int64_t kScatterBlocks = 256;  // wanted in all; not the device's, so that the order of sums is one

// Fills in the plan of a job whose shapes and arrays are set; scattered and total are laid out in `scratch`.
template <typename T>
ScatterJob<T> plan_scatter(ScatterJob<T> job, void* scratch) {
  constexpr int64_t kPiece = 1024, kWindows = 64;
  constexpr int64_t kLeft = kScatterWarps * kLanes * sizeof(double) + 256;  // what is not for the tables
  const int64_t length = job.conv.out_length(), size = job.pool.size, stride = job.pool.stride;
  job.piece = size <= kPiece ? static_cast<int>(kPiece) : 0;
  job.windows = static_cast<int>(
      std::clamp<int64_t>((kPiece - size) / stride + 1, 1, std::min(kWindows, job.pool.out_length)));
  if (job.piece > 0) job.piece = static_cast<int>(std::min(length, (job.windows - 1) * stride + size));
  job.tiles = ceil_div(job.pool.out_length, job.windows);

  // Words of two letters where every warp can have its tables, else of one; of those, as many chunks as fit.
  const int64_t limit = shared_memory_limit() - kLeft;
  for (int chunk = 2; chunk >= 1; --chunk) {
    job.plan = table_plan(job.conv.width, chunk, true);
    job.chunks_here = job.plan.chunks;
    for (job.warps = kScatterWarps; job.warps > 1 && scatter_bytes(job) > limit; job.warps /= 2) continue;
    if (job.warps >= kScatterWarps / 2 && scatter_bytes(job) <= limit) break;
  }
  while (scatter_bytes(job) > limit) job.chunks_here = (job.chunks_here + 1) / 2;

  const int64_t blocks = ceil_div(job.conv.filters, kLanes);
  const int64_t units = std::max<int64_t>(1, job.conv.batch * job.tiles);
  job.groups = std::clamp<int64_t>(kScatterBlocks / std::max<int64_t>(1, blocks), 1, units);
  job.scattered = static_cast<double*>(scratch);
  job.total = job.scattered + job.groups * job.conv.filters * 4 * job.conv.width;
  return job;
}

template <typename T>
int64_t scatter_scratch(const ScatterJob<T>& job) {
  return job.groups * job.conv.filters * (4 * job.conv.width + 1) * static_cast<int64_t>(sizeof(double));
}

template <typename T>
void launch_scatter(const ScatterJob<T>& job, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(job.groups),
                  static_cast<unsigned>(ceil_div(job.conv.filters, kLanes)),
                  static_cast<unsigned>(ceil_div(job.plan.chunks, job.chunks_here)));
  MK_LAUNCH((scatter_kernel<T>), grid, dim3(job.warps * kWarp), scatter_bytes(job), stream, job);
}

}  // namespace motifkit::cuda
