// What the host decides before a launch, from the shape and from what the device has: which tables, how many
// warps, how many blocks. The words' length depends on the shape and on the shared memory alone, so that
// neither the number of multiprocessors nor the grid shows in a result.
#pragma once

#include <algorithm>

#include "cuda/tables.h"

namespace motifkit::cuda {

// The device of a call, for as long as it lasts.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device) {
    MK_CHECK(cudaGetDevice(&before_));
    if (device != before_) MK_CHECK(cudaSetDevice(device));
    changed_ = device != before_;
  }
  ~DeviceGuard() {
    if (changed_) cudaSetDevice(before_);
  }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int before_ = 0;
  bool changed_ = false;
};

inline cudaStream_t stream_of(const Call& call) {
  return static_cast<cudaStream_t>(call.stream);
}

inline int multiprocessors() {
  int device = 0, count = 0;
  MK_CHECK(cudaGetDevice(&device));
  MK_CHECK(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
  return count;
}

inline int64_t round_up(int64_t value, int64_t multiple) {
  return ceil_div(value, multiple) * multiple;
}

constexpr int64_t kTypicalBlocks = 128;      // that share the positions of a call
constexpr int64_t kManyPositions = 1 << 16;  // a block, where the words' length must not depend on the batch

inline TablePlan table_plan(int64_t width, int chunk, bool shared) {
  int rows = 1;
  for (int e = 0; e < chunk; ++e) rows *= kLetters;
  return {static_cast<int>(width), chunk, static_cast<int>(ceil_div(width, chunk)), rows, shared};
}

// Longer words take fewer look-ups a window, but more rows to build, and more memory.
template <typename T>
TablePlan choose_tables(int64_t width, int64_t positions, int64_t shared_bytes) {
  constexpr int64_t kRowCost = 3;  // building a row, in look-ups
  TablePlan best = table_plan(width, 2, false);
  int64_t least = 0;
  for (int chunk = 1; chunk <= kMaxChunk; ++chunk) {
    const TablePlan plan = table_plan(width, chunk, true);
    if (plan.elements() * static_cast<int64_t>(sizeof(T)) > shared_bytes) continue;
    const int64_t cost = plan.chunks * (positions + kRowCost * plan.rows);
    if (best.shared && cost >= least) continue;
    best = plan;
    least = cost;
  }
  return best;
}

// Bytes of all blocks' tables in scratch memory.
template <typename T>
int64_t built_tables_bytes(const TablePlan& plan, int64_t lanes) {
  return plan.shared ? 0 : ceil_div(lanes, kLanes) * plan.elements() * static_cast<int64_t>(sizeof(T));
}

template <typename T, typename Signs>
void build_tables_in_scratch(const Filters<T>& filters, const Signs& signs, const TablePlan& plan, T* tables,
                             cudaStream_t stream) {
  if (plan.shared) return;
  const dim3 grid(static_cast<unsigned>(ceil_div(filters.count, kLanes)));
  MK_LAUNCH((tables_kernel<T, Signs>), grid, dim3(256), 0, stream, filters, signs, plan, tables);
}

}  // namespace motifkit::cuda
