#include "ops/max_pool1d.h"

#include "cpu/blocks.h"

namespace motifkit::cpu {

template <typename T>
void max_pool1d(const MaxPoolParams<T>& p) {
  const auto& k = kernels<T>();
  const Blocks blocks(p.rows);  // rows side by side, as filters are elsewhere
  const PoolTiling tiling(p.pool, p.length);
  expect_writes(p.out, p.rows * p.pool.out_length * sizeof(T));
  if (p.indices != nullptr) expect_writes(p.indices, p.rows * p.pool.out_length * sizeof(int64_t));
  parallel_for(p.threads, blocks.count() * tiling.tiles, [&](int64_t begin, int64_t end) {
    const auto scratch = allocate<T>(tiling.scratch<T>());
    const auto rows = allocate<T>(tiling.positions * kBlockLanes);
    const auto pooled = allocate<T>(rows_to_turn(tiling.windows) * kBlockLanes);
    const auto kept = allocate<int32_t>(p.indices == nullptr ? 0 : tiling.windows * kBlockLanes);
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t block = unit / tiling.tiles, first = blocks.first(block), live = blocks.live(block);
      const int lanes = blocks.lanes(block);
      const PoolTile tile = tiling.tile(unit % tiling.tiles);
      const int64_t from = tiling.first_position(tile), to = tiling.end_position(tile),
                    count = tile.end - tile.begin;
      k.to_rows(p.x + first * p.length + from, p.length, to - from, lanes, live, rows.get());
      k.pool_rows(rows.get(), from, lanes, tile, scratch.get(), pooled.get(),
                  p.indices == nullptr ? nullptr : kept.get());
      const int64_t at = first * p.pool.out_length + tile.begin;
      k.to_columns(pooled.get(), count, lanes, live, p.out + at, p.pool.out_length);
      if (p.indices == nullptr) continue;
      for (int64_t lane = 0; lane < live; ++lane)
        for (int64_t j = 0; j < count; ++j)
          p.indices[at + lane * p.pool.out_length + j] = kept[j * lanes + lane];
    }
  });
}

template <typename T>
void max_pool1d_backward(const MaxPoolGradParams<T>& p) {
  expect_writes(p.grad_x, p.rows * p.length * sizeof(T));
  const int64_t grain = p.rows * p.out_length < 32768 ? p.rows : 1;  // small work stays on one thread
  parallel_for(grain == 1 ? p.threads : 1, p.rows, [&](int64_t begin, int64_t end) {
    std::fill_n(p.grad_x + begin * p.length, (end - begin) * p.length, T(0));
    for (int64_t row = begin; row < end; ++row) {
      T* grad_x = p.grad_x + row * p.length;
      const T* grad = p.grad + row * p.out_length;
      const int64_t* index = p.indices + row * p.out_length;
      for (int64_t j = 0; j < p.out_length; ++j) grad_x[index[j]] += grad[j];
    }
  });
}

template void max_pool1d<float>(const MaxPoolParams<float>&);
template void max_pool1d<double>(const MaxPoolParams<double>&);
template void max_pool1d_backward<float>(const MaxPoolGradParams<float>&);
template void max_pool1d_backward<double>(const MaxPoolGradParams<double>&);

}  // namespace motifkit::cpu
