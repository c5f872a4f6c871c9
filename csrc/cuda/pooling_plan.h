// What the host decides for pooling.h, and its launch.
#pragma once

#include "cuda/plan.h"
#include "cuda/pooling.h"

namespace motifkit::cuda {

// Fills in the plan of a job whose shapes and arrays are set.
template <typename T>
void plan_pool_apart(PoolJob<T>& job) {
  constexpr int64_t kPiece = 256, kStaged = 32;
  const int64_t length = job.conv.out_length(), size = job.pool.size, stride = job.pool.stride;
  job.piece = static_cast<int>(std::min(length, std::max(kPiece, std::min<int64_t>(size, 4 * kPiece))));
  job.windows = static_cast<int>(
      size > job.piece ? 1 : std::clamp<int64_t>((job.piece - size) / stride + 1, 1, job.pool.out_length));
  // Tiles as short as it takes to give every warp one, if not shorter than what a warp does at once.
  constexpr int64_t kTypicalWarps = kTypicalBlocks * 8;
  const int64_t share = ceil_div(job.conv.batch * job.pool.out_length, kTypicalWarps);
  job.windows = static_cast<int>(std::min<int64_t>(job.windows, std::max<int64_t>(Slot<T>::kSlots, share)));
  job.tiles = ceil_div(job.pool.out_length, job.windows);
  job.staged = 1;
  while (job.staged < std::min<int64_t>(kStaged, job.windows)) job.staged *= 2;

  const int64_t limit = shared_memory_limit() - static_cast<int64_t>(sizeof(TableScratch<T>)) - 256;
  const int64_t blocks = ceil_div(job.conv.filters, kLanes);
  const int64_t positions = job.conv.batch * length * blocks / kTypicalBlocks;
  job.plan = table_plan(job.conv.width, 1, false);
  const int64_t warp_bytes = pool_warp_bytes(job) + kMaxChunk;
  constexpr int kLeastWarps = 4;
  job.plan = choose_tables<T>(job.conv.width, positions, limit - kLeastWarps * warp_bytes);
  const int64_t room = limit - (job.plan.shared ? job.plan.elements() * static_cast<int64_t>(sizeof(T)) : 0);
  job.warps = static_cast<int>(std::clamp<int64_t>(room / pool_warp_bytes(job), 1, kPoolThreads / kWarp));
}

template <typename T>
void launch_pool_apart(const PoolJob<T>& job, cudaStream_t stream) {
  const int64_t tables = job.plan.shared ? job.plan.elements() * static_cast<int64_t>(sizeof(T)) : 0;
  const int64_t blocks = ceil_div(job.conv.filters, kLanes), units = job.conv.batch * job.tiles;
  // A block builds tables once: no more of them than keep the device busy.
  const int64_t wanted = std::max<int64_t>(1, 2 * multiprocessors() / std::max<int64_t>(1, blocks));
  const dim3 grid(static_cast<unsigned>(std::min(wanted, units)), static_cast<unsigned>(blocks));
  const int64_t bytes = tables + job.warps * pool_warp_bytes(job);
  const dim3 threads(job.warps * kWarp);
  const auto launch_kernel = [&](auto kernel) {
    launch("pool_apart_kernel", kernel, grid, threads, bytes, stream, job);
  };
  if (!job.plan.shared) {
    launch_kernel(pool_apart_kernel<T, kScratchTables>);
  } else if (job.plan.is(kSevenOfThree)) {
    launch_kernel(pool_apart_kernel<T, kSevenOfThree>);
  } else if (job.plan.is(kTenOfTwo)) {
    launch_kernel(pool_apart_kernel<T, kTenOfTwo>);
  } else {
    launch_kernel(pool_apart_kernel<T, kAnyChunks>);
  }
}

}  // namespace motifkit::cuda
