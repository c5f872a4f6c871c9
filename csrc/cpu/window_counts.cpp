// How often each pair of letters stands at each pair of window positions. A pair (a at k, b at l) depends on
// the lag l - k but for the windows at the ends: count each lag over whole sequences with bit planes and
// popcounts, then take away the few pairs near the ends that position k never sees.
#include "ops/window_counts.h"

#include "cpu/blocks.h"

namespace motifkit::cpu {
namespace {

constexpr int kPairs = 16;
constexpr int64_t kPlaneWords = 256;  // four planes of these stay in the first-level cache

// Pairs whose first letter is one of the first (or last) letters of a sequence: counts[(edge * edge + lag) *
// 16 + pair].
struct EdgeCounts {
  explicit EdgeCounts(int64_t letters) : letters(letters), counts(letters * letters * kPairs) {}
  int64_t* at(int64_t index, int64_t lag) { return counts.data() + (index * letters + lag) * kPairs; }
  void merge(const EdgeCounts& other) {
    for (size_t i = 0; i < counts.size(); ++i) counts[i] += other.counts[i];
  }
  int64_t letters;
  std::vector<int64_t> counts;
};

struct Counts {
  Counts(const ConvShape& conv)
      : lags(conv.width * kPairs),
        prefix(std::max<int64_t>(0, conv.width - 1 - conv.pad_left)),
        suffix(std::max<int64_t>(0, conv.width - 1 - conv.pad_right)) {}
  std::vector<int64_t> lags;
  EdgeCounts prefix;  // index i: the letter at i
  EdgeCounts suffix;  // index u: the letter at length - 1 - u
};

void count_edges(const uint8_t* codes, int64_t length, Counts& out) {
  const int64_t head = std::min(out.prefix.letters, length), tail = std::min(out.suffix.letters, length);
  for (int64_t i = 0; i < head; ++i)
    for (int64_t lag = 0; i + lag < head; ++lag)
      if (codes[i] < 4 && codes[i + lag] < 4) ++out.prefix.at(i, lag)[codes[i] * 4 + codes[i + lag]];
  for (int64_t u = 0; u < tail; ++u)
    for (int64_t lag = 0; lag <= u; ++lag) {
      const uint8_t a = codes[length - 1 - u], b = codes[length - 1 - u + lag];
      if (a < 4 && b < 4) ++out.suffix.at(u, lag)[a * 4 + b];
    }
}

// Counts of all lags for sequences [begin, end).
void count_range(const WindowCountsParams& p, int64_t begin, int64_t end, Counts& out) {
  const auto& k = count_kernels();
  const int64_t width = p.conv.width, length = p.conv.length;
  const int64_t slack = width / 64 + 10;  // words read past the last one counted
  // Sequences side by side, far enough apart that no lag reaches the next; a long one in pieces, each with
  // the letters its last pairs need behind it.
  const int64_t piece = std::min(length, kPlaneWords * 64);
  const int64_t piece_words = (piece + 63) / 64, spacing = (piece + width - 1 + 63) / 64;
  const int64_t together = piece < length ? 1 : std::max<int64_t>(1, kPlaneWords / spacing);
  const int64_t words = together * spacing;
  const auto memory = allocate<uint64_t>(4 * (words + slack));
  uint64_t* planes[4];
  for (int a = 0; a < 4; ++a) planes[a] = memory.get() + a * (words + slack);
  for (int64_t sequence = begin; sequence < end;) {
    const int64_t last = std::min(end, sequence + together);
    for (int64_t start = 0; start < length; start += piece) {
      std::fill_n(memory.get(), 4 * (words + slack), uint64_t{0});
      int64_t used = 0;
      for (int64_t s = sequence; s < last; ++s, used += spacing) {
        uint64_t* here[4];
        for (int a = 0; a < 4; ++a) here[a] = planes[a] + used;
        k.bit_planes(p.codes + s * p.codes_stride + start, std::min(piece + width - 1, length - start), here);
      }
      const int64_t counted = piece < length ? piece_words : used;
      k.pair_counts(planes, counted, width, out.lags.data());
    }
    for (; sequence < last; ++sequence) count_edges(p.codes + sequence * p.codes_stride, length, out);
  }
}

void assemble(const ConvShape& conv, Counts& counts, int64_t* gram) {
  const int64_t width = conv.width, features = 4 * width;
  for (int64_t lag = 0; lag < width; ++lag) {
    // Pairs lost so far at the front grow with k; those lost at the back shrink.
    int64_t front[kPairs] = {}, back[kPairs] = {};
    const auto add = [](int64_t* sum, const int64_t* pairs, int64_t sign) {
      for (int i = 0; i < kPairs; ++i) sum[i] += sign * pairs[i];
    };
    for (int64_t u = lag; u < counts.suffix.letters; ++u) add(back, counts.suffix.at(u, lag), 1);
    for (int64_t k = 0; k + lag < width; ++k) {
      if (k > 0) {
        const int64_t gained = k - 1 - conv.pad_left;  // now before the first window's letter k
        if (gained >= 0) add(front, counts.prefix.at(gained, lag), 1);
        const int64_t returned = width - 1 - k - conv.pad_right;  // now within the last window's reach
        if (returned >= lag && returned < counts.suffix.letters)
          add(back, counts.suffix.at(returned, lag), -1);
      }
      for (int a = 0; a < 4; ++a)
        for (int b = 0; b < 4; ++b) {
          const int pair = a * 4 + b;
          const int64_t row = a * width + k, column = b * width + k + lag;
          const int64_t count = counts.lags[lag * kPairs + pair] - front[pair] - back[pair];
          gram[row * features + column] = count;
          gram[column * features + row] = count;
        }
    }
  }
}

}  // namespace

void window_counts(const WindowCountsParams& p) {
  const int64_t share = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, p.conv.length));
  const int64_t shares = (p.conv.batch + share - 1) / share;
  Counts total(p.conv);
  std::mutex lock;
  parallel_for(p.threads, shares, [&](int64_t begin, int64_t end) {
    Counts mine(p.conv);
    count_range(p, begin * share, std::min(end * share, p.conv.batch), mine);
    const std::lock_guard<std::mutex> guard(lock);
    for (size_t i = 0; i < total.lags.size(); ++i) total.lags[i] += mine.lags[i];
    total.prefix.merge(mine.prefix);
    total.suffix.merge(mine.suffix);
  });
  assemble(p.conv, total, p.gram);
}

template <typename T>
void batch_statistics(const BatchStatisticsParams<T>& p) {
  const auto& k = count_kernels();
  const int64_t size = p.features, stride = (size + kProductPadding) / kProductPadding * kProductPadding;
  const auto frequency = allocate<double>(size), covariance = allocate<double>(size * stride);
  k.covariance(p.gram, size, stride, static_cast<double>(p.windows), frequency.get(), covariance.get());
  parallel_for(p.filters * size * size > 1000000 ? p.threads : 1, p.filters, [&](int64_t begin, int64_t end) {
    const int64_t filters = end - begin;
    const auto weight = allocate<double>(filters * stride), products = allocate<double>(filters * stride);
    const auto variance = allocate<double>(filters);
    for (int64_t f = 0; f < filters; ++f) {
      std::copy_n(p.weight + (begin + f) * size, size, weight.get() + f * stride);
      std::fill_n(weight.get() + f * stride + size, stride - size, 0.0);
    }
    k.multiply(weight.get(), covariance.get(), filters, size, stride, products.get(), variance.get());
    for (int64_t f = 0; f < filters; ++f) {
      const double *row = products.get() + f * stride, mean = row[size];
      const double variance_f = variance[f] < 0 ? 0 : variance[f];  // a constant filter; NaN stays NaN
      std::copy_n(row, size, p.weight_cov + (begin + f) * size);
      p.mean[begin + f] = static_cast<T>(mean);
      p.variance[begin + f] = static_cast<T>(variance_f);
      p.running.move(begin + f, mean, variance_f, p.windows);
    }
  });
}

template void batch_statistics<float>(const BatchStatisticsParams<float>&);
template void batch_statistics<double>(const BatchStatisticsParams<double>&);

}  // namespace motifkit::cpu
