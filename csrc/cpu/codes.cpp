#include "ops/codes.h"

#include <atomic>

#include "cpu/blocks.h"

namespace motifkit::cpu {

template <typename T>
bool onehot_to_codes(const T* x, int64_t batch, int64_t length, uint8_t* codes, int threads) {
  std::atomic<bool> valid{true};
  parallel_for(batch * length < 65536 ? 1 : threads, batch, [&](int64_t begin, int64_t end) {
    bool ok = true;
    for (int64_t n = begin; n < end; ++n) {
      const T *a = x + n * 4 * length, *c = a + length, *g = c + length, *t = g + length;
      uint8_t* out = codes + n * length;
      int bad = 0;
      for (int64_t i = 0; i < length; ++i) {
        const int ones = (a[i] == 1) + (c[i] == 1) + (g[i] == 1) + (t[i] == 1);
        const int zeros = (a[i] == 0) + (c[i] == 0) + (g[i] == 0) + (t[i] == 0);
        out[i] = static_cast<uint8_t>((c[i] == 1) + 2 * (g[i] == 1) + 3 * (t[i] == 1) + 4 * (ones == 0));
        bad |= (ones > 1) | (ones + zeros != 4);
      }
      ok &= bad == 0;
    }
    if (!ok) valid.store(false, std::memory_order_relaxed);
  });
  return valid.load();
}

template bool onehot_to_codes<float>(const float*, int64_t, int64_t, uint8_t*, int);
template bool onehot_to_codes<double>(const double*, int64_t, int64_t, uint8_t*, int);

}  // namespace motifkit::cpu
