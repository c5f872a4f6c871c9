#include "ops/conv_pool.h"

#include "cpu/blocks.h"

namespace motifkit::cpu {
namespace {

static_assert(kBlockLanes == 32 && kTailLanes == 16, "as padded_filters says");

// Where a window's lanes lie among the kept positions (block, batch, windows, lanes of the block), in
// positions.
template <typename Shapes>
int64_t kept_index(const Shapes& p, int64_t first, int lanes, int64_t sequence, int64_t window) {
  return p.conv.batch * p.pool.out_length * first + (sequence * p.pool.out_length + window) * lanes;
}

// The affine of one block. The tables hold sign * weight.
template <typename T>
struct BlockAffine {
  T sign[kBlockLanes] = {}, centre[kBlockLanes] = {}, scale[kBlockLanes] = {}, shift[kBlockLanes] = {};
  LaneAffine<T> get(bool relu) const { return {centre, scale, shift, relu}; }

  BlockAffine(const NormParams<T>& norm, bool minimum, int64_t first, int64_t live) {
    for (int64_t i = 0; i < live; ++i) {
      const Affine<T> affine = affine_of(norm, minimum, first + i);
      sign[i] = affine.sign, centre[i] = affine.centre, scale[i] = affine.scale, shift[i] = affine.shift;
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
  const bool relu = p.activation == Activation::kRelu, wide = kept_is_wide(p.pool);
  const int64_t kept_bytes = wide ? sizeof(int32_t) : 1;
  expect_writes(p.out, p.conv.batch * p.conv.filters * p.pool.out_length * sizeof(T));
  if (p.kept != nullptr)
    expect_writes(p.kept, p.conv.batch * blocks.padded() * p.pool.out_length * kept_bytes);
  parallel_for(p.threads, blocks.count() * units, [&](int64_t begin, int64_t end) {
    BlockTables<T> tables(p.conv.width, chunk);
    WordBuffer buffer(tiling.positions, p.conv.width);
    const auto scratch = allocate<T>(tiling.scratch<T>());
    const auto pooled = allocate<T>(rows_to_turn(tiling.windows) * kBlockLanes);
    const ColumnWriter<T> writer(p.conv.batch * p.conv.filters * p.pool.out_length, p.pool.out_length,
                                 tiling.windows);
    for (int64_t unit = begin; unit < end;) {
      const int64_t block = unit / units, first = blocks.first(block), live = blocks.live(block);
      const int lanes = blocks.lanes(block);
      const BlockAffine<T> affine(p.norm, p.minimum, first, live);
      tables.build(p.weight + first * 4 * p.conv.width, live, lanes, p.conv.width, 0, affine.sign);
      for (; unit < std::min(end, (block + 1) * units); ++unit) {
        const int64_t sequence = unit % units / tiling.tiles;
        const PoolTile tile = tiling.tile(unit % tiling.tiles);
        const Words words =
            buffer.fill(p.codes + sequence * p.codes_stride, p.conv.length, tiling.first_position(tile),
                        tiling.end_position(tile), -p.conv.pad_left, tables);
        const int64_t count = tile.end - tile.begin;
        char* kept = static_cast<char*>(p.kept);
        if (kept != nullptr) kept += kept_index(p, first, lanes, sequence, tile.begin) * kept_bytes;
        k.pool_tables(tables.get(), words, tile, affine.get(relu), scratch.get(), pooled.get(), {kept, wide});
        T* out = p.out + (sequence * p.conv.filters + first) * p.pool.out_length + tile.begin;
        writer.write(pooled.get(), count, lanes, live, out);
      }
    }
  });
}

namespace {

// Sums of gradients over the windows they were kept from, by group of units: scattered (groups, filters,
// features) in the order of the weights, total (groups, filters).
struct Sums {
  int64_t groups;
  std::vector<double> scattered, total;
};

// Windows that do not overlap and are short: position by position, all lanes that kept it at once, into sums
// over words.
template <typename T>
void scatter_by_position(const ConvPoolGradParams<T>& p, const PoolTiling& tiling, Sums& sums) {
  const auto& k = kernels<T>();
  const Blocks blocks(p.conv.filters);
  const int64_t units = p.conv.batch * tiling.tiles, filters = p.conv.filters, groups = sums.groups;
  const int64_t features = 4 * p.conv.width, kept_bytes = kept_is_wide(p.pool) ? sizeof(int32_t) : 1;
  const int chunk = choose_chunk<T>(p.conv.width, p.conv.batch * p.conv.out_length(), true);
  parallel_for(p.threads, blocks.count() * groups, [&](int64_t begin, int64_t end) {
    BlockTables<T> words_sums(p.conv.width, chunk);
    WordBuffer buffer(tiling.positions, p.conv.width);
    const auto grad = allocate<T>(tiling.windows * kBlockLanes);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t block = task / groups, group = task % groups;
      const int64_t first = blocks.first(block), live = blocks.live(block);
      const int lanes = blocks.lanes(block);
      double total[kBlockLanes] = {};
      words_sums.reshape(lanes);
      words_sums.clear();
      for (int64_t unit = units * group / groups; unit < units * (group + 1) / groups; ++unit) {
        const int64_t sequence = unit / tiling.tiles;
        const PoolTile tile = tiling.tile(unit % tiling.tiles);
        const Words words =
            buffer.fill(p.codes + sequence * p.codes_stride, p.conv.length, tiling.first_position(tile),
                        tiling.end_position(tile), -p.conv.pad_left, words_sums);
        const int64_t at = (sequence * filters + first) * p.pool.out_length + tile.begin;
        k.to_rows(p.grad + at, p.pool.out_length, tile.end - tile.begin, lanes, live, grad.get());
        const int64_t kept = kept_index(p, first, lanes, sequence, tile.begin);
        k.scatter_positions(words_sums.get(), words, tile, grad.get(), kept_is_wide(p.pool),
                            static_cast<const char*>(p.kept) + kept * kept_bytes, total);
      }
      k.fold(words_sums.get(), live, p.conv.width,
             sums.scattered.data() + (group * filters + first) * features);
      std::copy_n(total, live, sums.total.data() + group * filters + first);
    }
  });
}

// All others: filter by filter, each gradient added to the weights under the bits of its window.
template <typename T>
void scatter_by_window(const ConvPoolGradParams<T>& p, const PoolTiling& tiling, Sums& sums) {
  const auto& k = kernels<T>();
  const Blocks blocks(p.conv.filters);
  const int64_t units = p.conv.batch * tiling.tiles, filters = p.conv.filters, groups = sums.groups;
  const int64_t width = p.conv.width, padded = (4 * width + kBitPadding - 1) / kBitPadding * kBitPadding;
  // Letters of a tile, whole windows and what the last vector reads past them.
  const int64_t letters = (tiling.windows - 1) * p.pool.stride + p.pool.size + width + kBitPadding;
  const int64_t half = (letters + 1) / 2 + 8;
  const int64_t together = std::max<int64_t>(1, 2048 / std::max(tiling.windows, tiling.positions));
  const bool wide = kept_is_wide(p.pool);
  parallel_for(p.threads, blocks.count() * groups, [&](int64_t begin, int64_t end) {
    const auto bits = allocate<uint8_t>(together * 2 * half + kBitSlack);
    const int64_t spacing = (tiling.windows + kBitPadding - 1) / kBitPadding * kBitPadding;
    const auto value = allocate<T>(together * tiling.windows + kBitPadding);
    const auto place = allocate<uint32_t>(together * tiling.windows + kBitPadding);
    const auto turned = allocate<int32_t>(together * spacing * kBlockLanes);
    const ScatterScratch<T> scratch{value.get(), place.get(), turned.get()};
    const auto mine = allocate<T>(kBlockLanes * padded);
    std::vector<ScatterTile> tiles(together);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t block = task / groups, group = task % groups;
      const int64_t first = blocks.first(block), live = blocks.live(block);
      std::fill_n(mine.get(), live * padded, T(0));
      double* total = sums.total.data() + group * filters + first;
      const int64_t last = units * (group + 1) / groups;
      for (int64_t unit = units * group / groups; unit < last;) {
        int64_t count = 0;
        for (; count < together && unit < last; ++count, ++unit) {
          const int64_t sequence = unit / tiling.tiles;
          const PoolTile tile = tiling.tile(unit % tiling.tiles);
          const int64_t from = tile.begin * p.pool.stride - p.pool.padding;
          uint8_t* even = bits.get() + count * 2 * half;
          // Bits begin at the first window's first position, inside or before the row.
          k.one_hot_bits(p.codes + sequence * p.codes_stride, p.conv.length, from - p.conv.pad_left, half * 2,
                         even, even + half);
          tiles[count] = {(sequence * filters + first) * p.pool.out_length + tile.begin,
                          kept_index(p, first, blocks.lanes(block), sequence, tile.begin),
                          count * spacing * kBlockLanes, tile.end - tile.begin,
                          static_cast<uint32_t>(count * 2 * half)};
        }
        const ScatterShape shape{
            live, blocks.lanes(block), p.pool.out_length, p.pool.stride, padded, static_cast<uint32_t>(half),
            wide};
        k.scatter_windows(tiles.data(), count, shape, p.grad, p.kept, bits.get(), scratch, mine.get(), total);
      }
      double* out = sums.scattered.data() + (group * filters + first) * 4 * width;
      for (int64_t f = 0; f < live; ++f)
        for (int letter = 0; letter < 4; ++letter)
          for (int64_t column = 0; column < width; ++column)
            out[(f * 4 + letter) * width + column] = mine[f * padded + column * 4 + letter];
    }
  });
}

template <typename T>
void finish(const ConvPoolGradParams<T>& p, int64_t f, const double* scattered, double total) {
  const int64_t features = 4 * p.conv.width;
  const T* weight = p.weight + f * features;
  T* grad_weight = p.grad_weight + f * features;
  double products = 0;  // the kept windows' convolutions times their gradients
  for (int64_t i = 0; i < features; ++i) products += scattered[i] * static_cast<double>(weight[i]);
  const FilterGradient gradient(p.norm, f, total, products);
  for (int64_t i = 0; i < features; ++i) {
    const double count = p.gram == nullptr ? 0 : static_cast<double>(p.gram[i * features + i]);
    const double weight_cov = p.weight_cov == nullptr ? 0 : p.weight_cov[f * features + i];
    grad_weight[i] = static_cast<T>(gradient.weight(scattered[i], count, weight_cov));
  }
  p.grad_bias[f] =
      p.norm.windows > 0 ? T(0) : static_cast<T>(total * gradient.scale);  // the mean takes it away
  p.grad_norm_weight[f] = static_cast<T>(gradient.norm_weight);
  p.grad_norm_bias[f] = static_cast<T>(total);
}

}  // namespace

template <typename T>
void conv_pool_backward(const ConvPoolGradParams<T>& p) {
  const PoolTiling tiling(p.pool, p.conv.out_length());
  const int64_t units = p.conv.batch * tiling.tiles, features = 4 * p.conv.width, filters = p.conv.filters;
  Sums sums;
  sums.groups = sum_groups(p.conv.batch * p.conv.out_length(), units);
  sums.scattered.resize(sums.groups * filters * features);
  sums.total.resize(sums.groups * filters);
  constexpr int64_t kShortPool = 4;
  if (p.pool.size <= p.pool.stride && p.pool.size <= kShortPool)
    scatter_by_position(p, tiling, sums);
  else
    scatter_by_window(p, tiling, sums);
  for (int64_t group = 1; group < sums.groups; ++group) {
    for (int64_t i = 0; i < filters * features; ++i)
      sums.scattered[i] += sums.scattered[group * filters * features + i];
    for (int64_t f = 0; f < filters; ++f) sums.total[f] += sums.total[group * filters + f];
  }
  for (int64_t f = 0; f < filters; ++f) finish(p, f, sums.scattered.data() + f * features, sums.total[f]);
}

template void conv_pool<float>(const ConvPoolParams<float>&);
template void conv_pool<double>(const ConvPoolParams<double>&);
template void conv_pool_backward<float>(const ConvPoolGradParams<float>&);
template void conv_pool_backward<double>(const ConvPoolGradParams<double>&);

}  // namespace motifkit::cpu
