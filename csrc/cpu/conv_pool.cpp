#include "ops/conv_pool.h"

#include "cpu/blocks.h"

namespace motifkit {

int64_t padded_filters(int64_t filters) {
  return cpu::Blocks(filters).padded();
}

namespace cpu {
namespace {

// The affine of one block. The tables hold sign * weight, so that the wanted extreme is always a maximum.
template <typename T>
struct LaneAffine {
  T sign[kBlockLanes] = {}, centre[kBlockLanes] = {}, scale[kBlockLanes] = {}, shift[kBlockLanes] = {};

  LaneAffine(const ConvPoolParams<T>& p, int64_t first, int64_t live) {
    for (int64_t i = 0; i < live; ++i) {
      const T a = p.scale[first + i];
      sign[i] = static_cast<T>((a > 0) - (a < 0)) * (p.minimum ? -1 : 1);
      if (a != a) sign[i] = 1;  // a NaN scale reaches the output by itself
      centre[i] = sign[i] * p.centre[first + i];
      scale[i] = sign[i] * a;
      shift[i] = p.shift[first + i];
    }
  }
};

}  // namespace

template <typename T>
void conv_pool(const ConvPoolParams<T>& p) {
  const auto& k = kernels<T>();
  const Blocks blocks(p.conv.filters);
  const PoolTiling tiling(p.pool, p.conv.out_length());
  const int64_t units = p.conv.batch * tiling.tiles;  // a block
  const int chunk = choose_chunk<T>(p.conv.width, p.conv.batch * p.conv.out_length(), false);
  parallel_for(p.threads, blocks.count() * units, [&](int64_t begin, int64_t end) {
    BlockTables<T> tables(p.conv.width, chunk);
    WordBuffer buffer(tiling.positions, p.conv.width);
    const auto scratch = allocate<T>(tiling.scratch<T>());
    const auto pooled = allocate<T>(tiling.windows * kBlockLanes);
    for (int64_t unit = begin; unit < end;) {
      const int64_t block = unit / units, first = blocks.first(block), live = blocks.live(block);
      const int lanes = blocks.lanes(block);
      const LaneAffine<T> affine(p, first, live);
      tables.build(p.weight + first * 4 * p.conv.width, live, lanes, p.conv.width, 0, affine.sign);
      for (; unit < std::min(end, (block + 1) * units); ++unit) {
        const int64_t sequence = unit % units / tiling.tiles;
        const PoolTile tile = tiling.tile(unit % tiling.tiles);
        const Words words =
            buffer.fill(p.codes + sequence * p.codes_stride, p.conv.length, tiling.first_position(tile),
                        tiling.end_position(tile), -p.conv.pad_left, tables);
        const int64_t row = sequence * p.pool.out_length + tile.begin, count = tile.end - tile.begin;
        int32_t* kept = p.kept == nullptr ? nullptr : p.kept + row * blocks.padded() + first;
        k.pool_tables(tables.get(), words, tile, scratch.get(), pooled.get(), kept, blocks.padded());
        k.affine(pooled.get(), count, lanes, affine.centre, affine.scale, affine.shift,
                 p.activation == Activation::kRelu);
        T* out = p.out + (sequence * p.conv.filters + first) * p.pool.out_length + tile.begin;
        k.to_columns(pooled.get(), count, lanes, live, out, p.pool.out_length);
      }
    }
  });
}

template <typename T>
void conv_pool_backward(const ConvPoolGradParams<T>& p) {
  const auto& k = kernels<T>();
  const Blocks blocks(p.conv.filters);
  const PoolTiling tiling(p.pool, p.conv.out_length());
  const int64_t units = p.conv.batch * tiling.tiles;
  const int64_t positions = p.conv.batch * p.conv.out_length();
  const int chunk = choose_chunk<T>(p.conv.width, positions, true);
  // Sums are taken in groups of units that depend on the shape alone, then group by group: the same bits for
  // any number of threads.
  constexpr int64_t kGroupPositions = 16384, kMostGroups = 32;
  const int64_t groups =
      std::clamp<int64_t>(positions / kGroupPositions, 1, std::min(kMostGroups, std::max<int64_t>(units, 1)));
  const int64_t features = 4 * p.conv.width;
  std::vector<double> scattered(groups * p.conv.filters * features), total(groups * blocks.padded());
  // Few gradients a position are added one by one; many, a whole position at a time.
  constexpr int64_t kSparseStride = 7;
  const bool sparse = p.pool.stride >= kSparseStride;
  const bool apart = p.pool.size <= p.pool.stride;
  parallel_for(p.threads, blocks.count() * groups, [&](int64_t begin, int64_t end) {
    BlockTables<T> sums(p.conv.width, chunk);
    WordBuffer buffer(tiling.positions, p.conv.width);
    const auto grad = allocate<T>(tiling.windows * kBlockLanes);
    const auto rows = allocate<T>(sparse || apart ? 0 : tiling.positions * kBlockLanes);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t block = task / groups, group = task % groups;
      const int64_t first = blocks.first(block), live = blocks.live(block);
      const int lanes = blocks.lanes(block);
      sums.reshape(lanes);
      sums.clear();
      for (int64_t unit = units * group / groups; unit < units * (group + 1) / groups; ++unit) {
        const int64_t sequence = unit / tiling.tiles;
        const PoolTile tile = tiling.tile(unit % tiling.tiles);
        const int64_t from = tiling.first_position(tile), to = tiling.end_position(tile);
        const int64_t count = tile.end - tile.begin;
        const Words words =
            buffer.fill(p.codes + sequence * p.codes_stride, p.conv.length, from, to, -p.conv.pad_left, sums);
        const int64_t at = (sequence * p.conv.filters + first) * p.pool.out_length + tile.begin;
        k.to_rows(p.grad + at, p.activation == Activation::kRelu ? p.out + at : nullptr, p.pool.out_length,
                  count, lanes, live, grad.get());
        k.sum_rows(grad.get(), count, lanes, total.data() + group * blocks.padded() + first);
        const int32_t* kept = p.kept + (sequence * p.pool.out_length + tile.begin) * blocks.padded() + first;
        if (sparse) {
          k.scatter_windows(sums.get(), words, grad.get(), kept, blocks.padded(), count);
        } else if (apart) {
          k.scatter_positions(sums.get(), words, tile, grad.get(), kept, blocks.padded());
        } else {
          std::fill_n(rows.get(), (to - from) * lanes, T(0));
          for (int64_t j = 0; j < count; ++j)
            for (int lane = 0; lane < lanes; ++lane)
              rows[(kept[j * blocks.padded() + lane] - from) * lanes + lane] += grad[j * lanes + lane];
          k.scatter_rows(sums.get(), words, from, to, rows.get());
        }
      }
      k.fold(sums.get(), live, p.conv.width, scattered.data() + (group * p.conv.filters + first) * features);
    }
  });
  for (int64_t i = 0; i < p.conv.filters * features; ++i) {
    p.scattered[i] = 0;
    for (int64_t group = 0; group < groups; ++group)
      p.scattered[i] += scattered[group * p.conv.filters * features + i];
  }
  for (int64_t i = 0; i < p.conv.filters; ++i) {
    p.total[i] = 0;
    for (int64_t group = 0; group < groups; ++group) p.total[i] += total[group * blocks.padded() + i];
  }
}

template void conv_pool<float>(const ConvPoolParams<float>&);
template void conv_pool<double>(const ConvPoolParams<double>&);
template void conv_pool_backward<float>(const ConvPoolGradParams<float>&);
template void conv_pool_backward<double>(const ConvPoolGradParams<double>&);

}  // namespace cpu
}  // namespace motifkit
