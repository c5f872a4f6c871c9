// From the naive loop to the kernel: maxima over a pool of 25 of a one-hot convolution, 32 filters of width
// 19, over random letters, one idea a step. Each step's answers are compared with the first's. Times are the
// least of several runs, in nanoseconds a letter.
//
//     g++ -O3 -march=native -std=gnu++20 -ffp-contract=off benchmarks/steps.cpp -o steps && ./steps

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <random>
#include <vector>

namespace {

constexpr int kFilters = 32, kWidth = 19, kPool = 25, kLetters = 100000, kWindows = kLetters / kPool;
constexpr int kLanes = 16, kVectors = kFilters / kLanes;
using Vector = float __attribute__((vector_size(4 * kLanes)));
struct Row {  // all filters side by side
  Vector part[kVectors];
};

std::vector<uint8_t> codes(kLetters + kWidth + 4);
std::vector<float> weight(kFilters * 4 * kWidth);
std::vector<float> onehot(4 * (kLetters + kWidth));

// 1. The definition: every product with a 0 or a 1.
void products(float* out) {
  for (int f = 0; f < kFilters; ++f)
    for (int w = 0; w < kWindows; ++w) {
      float best = -INFINITY;
      for (int t = w * kPool; t < (w + 1) * kPool; ++t) {
        float sum = 0;
        for (int k = 0; k < kWidth; ++k)
          for (int a = 0; a < 4; ++a)
            sum += weight[(f * 4 + a) * kWidth + k] * onehot[a * (kLetters + kWidth) + t + k];
        best = std::max(best, sum);
      }
      out[w * kFilters + f] = best;
    }
}

// 2. The letter says which weight it is: nothing is multiplied.
void letters(float* out) {
  for (int f = 0; f < kFilters; ++f)
    for (int w = 0; w < kWindows; ++w) {
      float best = -INFINITY;
      for (int t = w * kPool; t < (w + 1) * kPool; ++t) {
        float sum = 0;
        for (int k = 0; k < kWidth; ++k) sum += weight[(f * 4 + codes[t + k]) * kWidth + k];
        best = std::max(best, sum);
      }
      out[w * kFilters + f] = best;
    }
}

// Tables of words of kChunk letters over all filters: row [chunk][word].
template <int kChunk>
std::vector<Row> tables() {
  constexpr int kChunks = (kWidth + kChunk - 1) / kChunk;
  const int words = static_cast<int>(std::pow(5, kChunk));
  std::vector<Row> rows(kChunks * words);
  for (int j = 0; j < kChunks; ++j)
    for (int word = 0; word < words; ++word)
      for (int f = 0; f < kFilters; ++f) {
        float sum = 0;
        for (int i = 0, rest = word; i < kChunk; ++i, rest /= 5)
          if (const int k = j * kChunk + i; rest % 5 < 4 && k < kWidth)
            sum += weight[(f * 4 + rest % 5) * kWidth + k];
        rows[j * words + word].part[f / kLanes][f % kLanes] = sum;
      }
  return rows;
}

// 3. All filters at once, a vector of them for each letter; 4. words of two letters; 5. of three; 6. of four.
template <int kChunk>
void words(float* out) {
  constexpr int kChunks = (kWidth + kChunk - 1) / kChunk;
  static const auto rows = tables<kChunk>();  // built in the first run; the least of several does without
  const int count = static_cast<int>(rows.size()) / kChunks;
  std::vector<uint32_t> word(kLetters + kWidth);
  for (int t = 0; t < kLetters + kWidth; ++t) {
    uint32_t number = 0;
    for (int i = kChunk - 1; i >= 0; --i) number = number * 5 + codes[t + i];
    word[t] = number;
  }
  for (int w = 0; w < kWindows; ++w) {
    Row best;
    for (int t = w * kPool; t < (w + 1) * kPool; ++t) {
      Row sum = rows[word[t]];
      for (int j = 1; j < kChunks; ++j)
        for (int v = 0; v < kVectors; ++v) sum.part[v] += rows[j * count + word[t + j * kChunk]].part[v];
      for (int v = 0; v < kVectors; ++v) {
        const Vector z = sum.part[v];
        best.part[v] = t == w * kPool ? z : (z > best.part[v] ? z : best.part[v]);
      }
    }
    std::copy_n(reinterpret_cast<float*>(&best), kFilters, out + w * kFilters);
  }
}

}  // namespace

int main() {
  std::mt19937 random(1);
  for (auto& c : codes) c = random() % 4;
  for (auto& w : weight)
    w = static_cast<float>(static_cast<int>(random() % 9) - 4);  // integers: sums are exact
  for (int t = 0; t < kLetters + kWidth; ++t) onehot[codes[t] * (kLetters + kWidth) + t] = 1;
  const std::vector<std::pair<const char*, std::function<void(float*)>>> steps = {
      {"products with zeros and ones", products}, {"a look-up a letter", letters},
      {"all filters side by side", words<1>},     {"words of two letters", words<2>},
      {"words of three letters", words<3>},       {"words of four letters", words<4>}};
  std::vector<float> wanted(kWindows * kFilters), out(kWindows * kFilters);
  products(wanted.data());
  for (const auto& [name, step] : steps) {
    double least = 1e9;
    for (int round = 0; round < 7; ++round) {
      const auto start = std::chrono::steady_clock::now();
      step(out.data());
      least =
          std::min(least, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    std::printf("%-32s %8.1f ns a letter%s\n", name, least / kLetters * 1e9, out == wanted ? "" : "  WRONG");
  }
}
