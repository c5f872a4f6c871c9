#include "ops/onehot_conv1d.h"

#include "cpu/blocks.h"

namespace motifkit::cpu {
namespace {

// Positions a tile: small enough that a block's rows stay in the first-level cache until they are turned.
constexpr int64_t kPositions = 256;

struct Tiling {
  explicit Tiling(const ConvShape& conv)
      : length(conv.out_length()), tiles((length + kPositions - 1) / kPositions) {}
  int64_t begin(int64_t tile) const { return tile * kPositions; }
  int64_t end(int64_t tile) const { return std::min(length, (tile + 1) * kPositions); }
  int64_t length, tiles;
};

// Tables of pairs of letters, filter by filter: (live, pairs, kPairRows).
template <typename T>
class PairTables {
 public:
  explicit PairTables(int64_t width)
      : width_(width),
        count_((width + 3) / 4 * 2),
        rows_(width, 2),
        tables_(allocate<T>(kBlockLanes * size())) {}
  int64_t count() const { return count_; }
  const T* get() const { return tables_.get(); }

  void build(const T* weight, int64_t live, int lanes) {
    T ones[kBlockLanes];
    std::fill_n(ones, kBlockLanes, T(1));
    rows_.build(weight, live, lanes, width_, 0, ones);
    std::fill_n(tables_.get(), live * size(), T(0));
    for (int pair = 0; pair < rows_.get().chunks; ++pair)
      kernels<T>().to_columns(rows_.get().rows + pair * kWords * kWords * lanes, kWords * kWords, lanes, live,
                              tables_.get() + pair * kPairRows, size());
  }

 private:
  int64_t size() const { return count_ * kPairRows; }
  int64_t width_, count_;
  BlockTables<T> rows_;
  Buffer<T> tables_;
};

// Each filter's row of the output at once, where the processor looks up by permutation. The look-ups cost
// half as much again, but there is nothing to turn: it pays where turned rows would go through a second copy.
template <typename T>
void convolve_by_pairs(const OneHotConvParams<T>& p) {
  const auto& k = kernels<T>();
  const Blocks blocks(p.conv.filters);
  const Tiling tiling(p.conv);
  const int64_t units = p.conv.batch * tiling.tiles;
  parallel_for(p.threads, blocks.count() * units, [&](int64_t begin, int64_t end) {
    PairTables<T> tables(p.conv.width);
    const int64_t room = room_for_pairs(kPositions, tables.count());
    const auto letters = allocate<uint8_t>(room + 1);
    const auto words = allocate<uint32_t>(room);
    const auto copies = allocate<int32_t>(16 * room);
    for (int64_t unit = begin; unit < end;) {
      const int64_t block = unit / units, first = blocks.first(block), live = blocks.live(block);
      T bias[kBlockLanes] = {};
      if (p.bias != nullptr) std::copy_n(p.bias + first, live, bias);
      tables.build(p.weight + first * 4 * p.conv.width, live, blocks.lanes(block));
      for (; unit < std::min(end, (block + 1) * units); ++unit) {
        const int64_t sequence = unit % units / tiling.tiles;
        const int64_t from = tiling.begin(unit % tiling.tiles), to = tiling.end(unit % tiling.tiles);
        k.words(p.codes + sequence * p.codes_stride, p.conv.length, from - p.conv.pad_left,
                room_for_pairs(to - from, tables.count()), 2, 1, letters.get(), words.get());
        k.convolve_pairs(tables.get(), tables.count(), live, words.get(), copies.get(), from, to,
                         tiling.length, bias, p.out + (sequence * p.conv.filters + first) * tiling.length);
      }
    }
  });
}

}  // namespace

template <typename T>
void onehot_conv1d(const OneHotConvParams<T>& p) {
  const auto& k = kernels<T>();
  const int64_t values = p.conv.batch * p.conv.filters * p.conv.out_length();
  expect_writes(p.out, values * sizeof(T));
  if (k.convolve_pairs != nullptr && past_caches<T>(values)) return convolve_by_pairs(p);
  const Blocks blocks(p.conv.filters);
  const Tiling tiling(p.conv);
  const int64_t units = p.conv.batch * tiling.tiles;
  const int chunk = choose_chunk<T>(p.conv.width, p.conv.batch * tiling.length, false);
  parallel_for(p.threads, blocks.count() * units, [&](int64_t begin, int64_t end) {
    BlockTables<T> tables(p.conv.width, chunk);
    WordBuffer buffer(kPositions, p.conv.width);
    const auto rows = allocate<T>(kPositions * kBlockLanes);
    const ColumnWriter<T> writer(values, tiling.length, kPositions);
    T ones[kBlockLanes];
    std::fill_n(ones, kBlockLanes, T(1));
    for (int64_t unit = begin; unit < end;) {
      const int64_t block = unit / units, first = blocks.first(block), live = blocks.live(block);
      T bias[kBlockLanes] = {};
      if (p.bias != nullptr) std::copy_n(p.bias + first, live, bias);
      tables.build(p.weight + first * 4 * p.conv.width, live, blocks.lanes(block), p.conv.width, 0, ones);
      for (; unit < std::min(end, (block + 1) * units); ++unit) {
        const int64_t sequence = unit % units / tiling.tiles;
        const int64_t from = tiling.begin(unit % tiling.tiles), to = tiling.end(unit % tiling.tiles);
        const Words words = buffer.fill(p.codes + sequence * p.codes_stride, p.conv.length, from, to,
                                        -p.conv.pad_left, tables);
        k.convolve(tables.get(), words, from, to, bias, rows.get());
        writer.write(rows.get(), to - from, blocks.lanes(block), live,
                     p.out + (sequence * p.conv.filters + first) * tiling.length + from);
      }
    }
  });
}

template <typename T>
void onehot_conv1d_backward(const OneHotConvGradParams<T>& p) {
  const auto& k = kernels<T>();
  const Blocks blocks(p.conv.filters);
  const Tiling tiling(p.conv);
  const int64_t units = p.conv.batch * tiling.tiles;
  const int64_t positions = p.conv.batch * tiling.length;
  const int chunk = choose_chunk<T>(p.conv.width, positions, true);
  const int64_t groups = sum_groups(positions, positions);
  const int64_t features = 4 * p.conv.width;
  std::vector<double> weight(groups * p.conv.filters * features), bias(groups * blocks.padded());
  parallel_for(p.threads, blocks.count() * groups, [&](int64_t begin, int64_t end) {
    BlockTables<T> sums(p.conv.width, chunk);
    WordBuffer buffer(kPositions, p.conv.width);
    const auto rows = allocate<T>(kPositions * kBlockLanes);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t block = task / groups, group = task % groups;
      const int64_t first = blocks.first(block), live = blocks.live(block);
      const int lanes = blocks.lanes(block);
      sums.reshape(lanes);
      sums.clear();
      for (int64_t unit = units * group / groups; unit < units * (group + 1) / groups; ++unit) {
        const int64_t sequence = unit / tiling.tiles;
        const int64_t from = tiling.begin(unit % tiling.tiles), to = tiling.end(unit % tiling.tiles);
        const Words words =
            buffer.fill(p.codes + sequence * p.codes_stride, p.conv.length, from, to, -p.conv.pad_left, sums);
        k.to_rows(p.grad + (sequence * p.conv.filters + first) * tiling.length + from, tiling.length,
                  to - from, lanes, live, rows.get());
        k.sum_rows(rows.get(), to - from, lanes, bias.data() + group * blocks.padded() + first);
        k.scatter_rows(sums.get(), words, from, to, rows.get());
      }
      k.fold(sums.get(), live, p.conv.width, weight.data() + (group * p.conv.filters + first) * features);
    }
  });
  std::fill_n(p.grad_weight, p.conv.filters * features, 0.0);
  std::fill_n(p.grad_bias, p.conv.filters, 0.0);
  for (int64_t group = 0; group < groups; ++group) {
    for (int64_t i = 0; i < p.conv.filters * features; ++i)
      p.grad_weight[i] += weight[group * p.conv.filters * features + i];
    for (int64_t i = 0; i < p.conv.filters; ++i) p.grad_bias[i] += bias[group * blocks.padded() + i];
  }
}

template void onehot_conv1d<float>(const OneHotConvParams<float>&);
template void onehot_conv1d<double>(const OneHotConvParams<double>&);
template void onehot_conv1d_backward<float>(const OneHotConvGradParams<float>&);
template void onehot_conv1d_backward<double>(const OneHotConvGradParams<double>&);

}  // namespace motifkit::cpu
