// The CPU ops against plain loops over the definition, with integer weights, whose sums are exact: bit for
// bit on every instruction set of the processor it runs on, for one thread and for three. Shapes are drawn at
// random from a fixed seed, around the edges of blocks, tiles and chunks.
//
//   test_ops [rounds]        prints what ran; the exit status is the number of failures (at most 100)

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "cpu/kernels.h"
#include "ops/align.h"
#include "ops/align_above.h"
#include "ops/conv_pool.h"
#include "ops/max_pool1d.h"
#include "ops/onehot_conv1d.h"
#include "ops/scan.h"
#include "ops/window_counts.h"

namespace {

using namespace motifkit;
using Codes = std::vector<uint8_t>;

int failures = 0;

struct Random {
  std::mt19937_64 engine{20191219};
  int64_t between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(engine() % static_cast<uint64_t>(high - low + 1));
  }
  template <typename T>
  std::vector<T> integers(int64_t count, int64_t low, int64_t high) {
    std::vector<T> out(count);
    for (T& x : out) x = static_cast<T>(between(low, high));
    return out;
  }
};

struct Case {
  ConvShape conv;
  int64_t stride;  // from one sequence to the next: they are rows of a wider array
  Codes codes;
  int threads;
  std::string name;

  Case(Random& random, int threads_used) : threads(threads_used) {
    const int64_t width = random.between(1, 23), filters = random.between(1, 70);
    const int64_t length =
        std::max(width, random.between(1, 3) == 1 ? random.between(1, 2600) : random.between(1, 90));
    fill(random, random.between(1, 4), length, filters, width);
  }
  // One whose convolutions no cache holds.
  static Case large(Random& random, int threads) {
    Case c(random, threads);
    c.fill(random, 1, random.between(31'000, 31'100), random.between(34, 36), random.between(1, 23));
    return c;
  }
  void fill(Random& random, int64_t batch, int64_t length, int64_t filters, int64_t width) {
    conv = {batch, length, filters, width, random.between(0, width), random.between(0, width)};
    stride = length + random.between(0, 5);
    codes = random.integers<uint8_t>(batch * stride, 0, 4);
  }
  // The letter of window t at column k of sequence n; 4 for N and for what lies outside.
  int letter(int64_t n, int64_t t, int64_t k) const {
    const int64_t at = t + k - conv.pad_left;
    return at < 0 || at >= conv.length ? 4 : codes[n * stride + at];
  }
};

template <typename T>
std::vector<T> convolution(const Case& c, const std::vector<T>& weight, const std::vector<T>& bias) {
  const int64_t length = c.conv.out_length();
  std::vector<T> z(c.conv.batch * c.conv.filters * length);
  for (int64_t n = 0; n < c.conv.batch; ++n)
    for (int64_t f = 0; f < c.conv.filters; ++f)
      for (int64_t t = 0; t < length; ++t) {
        T sum = bias[f];
        for (int64_t k = 0; k < c.conv.width; ++k) {
          const int a = c.letter(n, t, k);
          if (a < 4) sum += weight[(f * 4 + a) * c.conv.width + k];
        }
        z[(n * c.conv.filters + f) * length + t] = sum;
      }
  return z;
}

template <typename T>
void expect_equal(const char* what, const Case& c, const std::vector<T>& ours, const std::vector<T>& wanted) {
  if (ours == wanted) return;
  const size_t at = std::mismatch(ours.begin(), ours.end(), wanted.begin()).first - ours.begin();
  std::ostringstream line;
  line << what << " on " << cpu::instruction_set() << ", " << c.threads << " threads: batch " << c.conv.batch
       << ", length " << c.conv.length << ", filters " << c.conv.filters << ", width " << c.conv.width
       << ", padding " << c.conv.pad_left << "+" << c.conv.pad_right << ": value " << at << " is "
       << +ours[at] << ", not " << +wanted[at];
  std::puts(line.str().c_str());
  ++failures;
}

template <typename T>
void check_onehot_conv1d(Random& random, const Case& c) {
  const ConvShape& s = c.conv;
  const auto weight = random.integers<T>(s.filters * 4 * s.width, -4, 4),
             bias = random.integers<T>(s.filters, -4, 4);
  const auto wanted = convolution(c, weight, bias);
  std::vector<T> out(wanted.size());
  cpu::onehot_conv1d<T>({s, c.codes.data(), c.stride, weight.data(), bias.data(), out.data(), c.threads});
  expect_equal("onehot_conv1d", c, out, wanted);

  const auto grad = random.integers<T>(static_cast<int64_t>(wanted.size()), -3, 3);
  std::vector<double> grad_weight(weight.size()), grad_bias(bias.size()), by_weight(weight.size()),
      by_bias(bias.size());
  for (int64_t n = 0; n < s.batch; ++n)
    for (int64_t f = 0; f < s.filters; ++f)
      for (int64_t t = 0; t < s.out_length(); ++t) {
        const double g = static_cast<double>(grad[(n * s.filters + f) * s.out_length() + t]);
        by_bias[f] += g;
        for (int64_t k = 0; k < s.width; ++k)
          if (const int a = c.letter(n, t, k); a < 4) by_weight[(f * 4 + a) * s.width + k] += g;
      }
  cpu::onehot_conv1d_backward<T>(
      {s, c.codes.data(), c.stride, grad.data(), grad_weight.data(), grad_bias.data(), c.threads});
  expect_equal("onehot_conv1d gradient of weight", c, grad_weight, by_weight);
  expect_equal("onehot_conv1d gradient of bias", c, grad_bias, by_bias);
}

// ReLU of the convolution plus bias, pooled; every other filter's gradient passes through the same windows.
template <typename T>
void check_conv_pool(Random& random, const Case& c) {
  const ConvShape& s = c.conv;
  const int64_t length = s.out_length(),
                size = random.between(1, std::min<int64_t>(length, random.between(1, 3) == 1 ? 300 : 30));
  PoolShape pool{size, random.between(1, size + 2), random.between(0, size / 2), 0};
  pool.out_length = (length + 2 * pool.padding - size) / pool.stride + 1;
  const auto weight = random.integers<T>(s.filters * 4 * s.width, -4, 4),
             bias = random.integers<T>(s.filters, -4, 4);
  const auto z = convolution(c, weight, bias);
  const int64_t outputs = s.batch * s.filters * pool.out_length;
  std::vector<T> out(outputs), wanted(outputs);
  const auto grad = random.integers<T>(outputs, -3, 3);
  std::vector<T> by_weight(weight.size()), by_bias(bias.size());
  for (int64_t n = 0; n < s.batch; ++n)
    for (int64_t f = 0; f < s.filters; ++f)
      for (int64_t j = 0; j < pool.out_length; ++j) {
        const int64_t from = j * pool.stride - pool.padding, at = (n * s.filters + f) * pool.out_length + j;
        int64_t best = -1;
        const T* row = z.data() + (n * s.filters + f) * length;
        for (int64_t t = std::max<int64_t>(0, from); t < std::min(length, from + size); ++t)
          if (best < 0 || row[t] > row[best]) best = t;
        wanted[at] = std::max<T>(row[best], 0);
        if (!(row[best] > 0)) continue;
        by_bias[f] += grad[at];
        for (int64_t k = 0; k < s.width; ++k)
          if (const int a = c.letter(n, best, k); a < 4) by_weight[(f * 4 + a) * s.width + k] += grad[at];
      }
  const NormParams<T> norm{bias.data(), nullptr, nullptr, nullptr, nullptr, 0, 0};
  std::vector<char> kept(s.batch * pool.out_length * padded_filters(s.filters) *
                         (kept_is_wide(pool) ? 4 : 1));
  const ConvPoolParams<T> forward{s,          pool,          norm,     c.codes.data(),
                                  c.stride,   weight.data(), false,    Activation::kRelu,
                                  out.data(), kept.data(),   c.threads};
  cpu::conv_pool(forward);
  expect_equal("conv_pool", c, out, wanted);
  std::vector<T> grad_weight(weight.size()), grad_bias(bias.size()), unused(2 * s.filters);
  cpu::conv_pool_backward<T>({s, pool, norm, c.codes.data(), c.stride, weight.data(), grad.data(),
                              kept.data(), nullptr, nullptr, grad_weight.data(), grad_bias.data(),
                              unused.data(), unused.data() + s.filters, c.threads});
  expect_equal("conv_pool gradient of weight", c, grad_weight, by_weight);
  expect_equal("conv_pool gradient of bias", c, grad_bias, by_bias);
}

template <typename T>
void check_max_pool1d(Random& random, const Case& c) {
  const int64_t rows = c.conv.filters, length = c.conv.length,
                size = random.between(1, std::min<int64_t>(length, 60));
  PoolShape pool{size, random.between(1, size + 2), random.between(0, size / 2), 0};
  pool.out_length = (length + 2 * pool.padding - size) / pool.stride + 1;
  const auto x = random.integers<T>(rows * length, -9, 9);
  std::vector<T> out(rows * pool.out_length), wanted(out.size());
  std::vector<int64_t> indices(out.size()), places(out.size());
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t j = 0; j < pool.out_length; ++j) {
      int64_t best = -1;
      for (int64_t t = std::max<int64_t>(0, j * pool.stride - pool.padding);
           t < std::min(length, j * pool.stride - pool.padding + size); ++t)
        if (best < 0 || x[row * length + t] > x[row * length + best]) best = t;
      wanted[row * pool.out_length + j] = x[row * length + best];
      places[row * pool.out_length + j] = best;
    }
  cpu::max_pool1d<T>({pool, rows, length, x.data(), out.data(), indices.data(), c.threads});
  expect_equal("max_pool1d", c, out, wanted);
  expect_equal("max_pool1d indices", c, indices, places);
}

template <typename T>
void check_scan(Random& random, const Case& c) {
  const ConvShape& s = c.conv;
  const auto weight = random.integers<T>(s.filters * 4 * s.width, -4, 4);
  const std::vector<T> none(s.filters, T(0));
  const auto z = convolution(c, weight, none);
  const int64_t length = s.out_length();
  std::vector<T> score(s.batch * s.filters), best(score.size());
  std::vector<int64_t> position(score.size()), place(score.size());
  std::vector<int8_t> strand(score.size());
  for (int64_t i = 0; i < s.batch * s.filters; ++i) {
    const auto top = std::max_element(z.begin() + i * length, z.begin() + (i + 1) * length);
    best[i] = *top;
    place[i] = top - (z.begin() + i * length) - s.pad_left;
  }
  cpu::scan<T>({s, c.codes.data(), c.stride, weight.data(), nullptr, Strands::kForward, score.data(),
                position.data(), strand.data(), c.threads});
  expect_equal("scan", c, score, best);
  expect_equal("scan positions", c, position, place);

  const std::vector<T> threshold(s.filters, T(5));
  std::vector<int64_t> found, wanted;
  for (int64_t n = 0; n < s.batch; ++n)
    for (int64_t f = 0; f < s.filters; ++f)
      for (int64_t t = 0; t < length; ++t)
        if (z[(n * s.filters + f) * length + t] > 5) wanted.insert(wanted.end(), {n, f, t - s.pad_left});
  const int64_t room = static_cast<int64_t>(wanted.size()) / 3 + 1;
  std::vector<int64_t> sequence(room), filter(room), where(room);
  std::vector<int8_t> strands(room);
  std::vector<T> scores(room);
  const int64_t hits = cpu::scan_hits<T>(
      {s, c.codes.data(), c.stride, weight.data(), nullptr, threshold.data(), Strands::kForward, 0, room,
       sequence.data(), filter.data(), where.data(), strands.data(), scores.data(), c.threads});
  for (int64_t i = 0; i < std::min(hits, room); ++i)
    found.insert(found.end(), {sequence[i], filter[i], where[i]});
  expect_equal("scan_hits", c, found, wanted);
}

// The letters that align_above and align_best count, one window at a time, weighted with their scores.
template <typename T>
struct LettersShown {
  LettersShown(Random& random, const Case& c)
      : c(c),
        shown(c.conv.width + random.between(0, 5)),
        before((shown - c.conv.width) / 2),
        whole(random.between(0, 1) == 1),
        known(random.between(0, 1) == 1),
        threshold(random.integers<T>(c.conv.filters, -3, 9)),
        counts(c.conv.filters * 4 * shown),
        total(c.conv.filters),
        number(c.conv.filters) {}

  void add(int64_t n, int64_t f, int64_t t, T score) {
    const ConvShape& s = c.conv;
    const int64_t first = t - s.pad_left - before;
    bool taken = score > threshold[f] && !(whole && (first < 0 || first + shown > s.length));
    for (int64_t k = 0; k < shown && known; ++k)
      taken &= first + k < 0 || first + k >= s.length || c.codes[n * c.stride + first + k] < 4;
    if (!taken) return;
    ++number[f];
    total[f] += score;
    for (int64_t k = 0; k < shown; ++k) {
      const int letter = c.letter(n, t, k - before);
      if (letter < 4) counts[(f * 4 + letter) * shown + k] += score;
    }
  }

  const Case& c;
  int64_t shown, before;
  bool whole, known;
  std::vector<T> threshold;
  std::vector<double> counts, total;
  std::vector<int64_t> number;
};

template <typename T>
void check_align(Random& random, const Case& c) {
  const ConvShape& s = c.conv;
  const auto weight = random.integers<T>(s.filters * 4 * s.width, -4, 4);
  const auto bias = random.integers<T>(s.filters, -2, 2);
  const auto z = convolution(c, weight, bias);
  LettersShown<T> above(random, c), best(random, c);
  std::vector<T> largest(s.filters), top(s.filters, -std::numeric_limits<T>::infinity());
  std::vector<double> sum(s.filters), positive(s.filters);
  std::vector<T> score(s.batch * s.filters);
  std::vector<int64_t> position(score.size());
  const std::vector<int8_t> strand(score.size(), 1);
  for (int64_t n = 0; n < s.batch; ++n)
    for (int64_t f = 0; f < s.filters; ++f) {
      const T* row = z.data() + (n * s.filters + f) * s.out_length();
      for (int64_t t = 0; t < s.out_length(); ++t) {
        top[f] = std::max(top[f], row[t]);
        positive[f] += std::max<T>(row[t], 0);
        above.add(n, f, t, row[t]);
      }
      const int64_t at = std::max_element(row, row + s.out_length()) - row;
      score[n * s.filters + f] = row[at];
      position[n * s.filters + f] = at - s.pad_left;
      best.add(n, f, at, row[at]);
    }
  std::vector<double> counts(above.counts.size()), total(s.filters);
  std::vector<int64_t> number(s.filters);
  cpu::align_above<T>({s, c.codes.data(), c.stride, weight.data(), bias.data(), above.threshold.data(),
                       Strands::kForward, Weighing::kScore, above.shown, above.whole, above.known,
                       counts.data(), number.data(), total.data(), c.threads});
  expect_equal("align_above", c, counts, above.counts);
  expect_equal("align_above windows", c, number, above.number);
  expect_equal("align_above total", c, total, above.total);
  counts.resize(best.counts.size());
  cpu::align_best<T>({s.batch, s.length, s.filters, s.width, c.codes.data(), c.stride, score.data(),
                      position.data(), strand.data(), best.threshold.data(), Weighing::kScore, best.shown,
                      best.whole, best.known, counts.data(), number.data(), total.data(), c.threads});
  expect_equal("align_best", c, counts, best.counts);
  expect_equal("align_best windows", c, number, best.number);
  expect_equal("align_best total", c, total, best.total);
  cpu::scan_summary<T>({s, c.codes.data(), c.stride, weight.data(), bias.data(), Strands::kForward, true,
                        largest.data(), sum.data(), c.threads});
  expect_equal("scan_summary", c, largest, top);
  expect_equal("scan_summary total", c, sum, positive);
}

void check_window_counts(const Case& c) {
  const ConvShape& s = c.conv;
  const int64_t features = 4 * s.width;
  std::vector<int64_t> gram(features * features), wanted(gram.size());
  for (int64_t n = 0; n < s.batch; ++n)
    for (int64_t t = 0; t < s.out_length(); ++t)
      for (int64_t k = 0; k < s.width; ++k)
        for (int64_t l = 0; l < s.width; ++l) {
          const int a = c.letter(n, t, k), b = c.letter(n, t, l);
          if (a < 4 && b < 4) ++wanted[(a * s.width + k) * features + b * s.width + l];
        }
  cpu::window_counts({s, c.codes.data(), c.stride, gram.data(), c.threads});
  expect_equal("window_counts", c, gram, wanted);
}

template <typename T>
void check_all(Random& random, int threads) {
  const Case c(random, threads);
  check_onehot_conv1d<T>(random, c);
  check_conv_pool<T>(random, c);
  check_max_pool1d<T>(random, c);
  check_scan<T>(random, c);
  check_align<T>(random, c);
  check_window_counts(c);
}

constexpr int kRoundsToOneLarge = 15;

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 30;
  std::istringstream names(cpu::available_instruction_sets());
  int cases = 0;
  for (std::string name; names >> name;) {
    cpu::use_instruction_set(name.c_str());
    Random random;
    for (int round = 0; round < rounds; ++round, ++cases) {
      check_all<float>(random, round % 2 == 0 ? 1 : 3);
      check_all<double>(random, round % 2 == 0 ? 3 : 1);
      if (round % kRoundsToOneLarge == 0)
        check_onehot_conv1d<float>(random, Case::large(random, round % 2 == 0 ? 3 : 1));
    }
  }
  std::printf("%s: %d shapes, %d failures\n", cpu::available_instruction_sets(), 2 * cases, failures);
  return std::min(failures, 100);
}
