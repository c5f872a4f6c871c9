// pair_counts for processors that count the bits of a whole AVX-512 vector at once.
#include <immintrin.h>

#include "cpu/kernels.h"

namespace motifkit::cpu::vpopcntdq {

void pair_counts(const uint64_t* const planes[4], int64_t words, int64_t lags, int64_t* counts) {
  for (int64_t lag = 0; lag < lags; ++lag) {
    const int64_t skip = lag / 64;
    const __m512i down = _mm512_set1_epi64(lag % 64),
                  up = _mm512_set1_epi64(64 - lag % 64);  // a shift by 64 gives 0
    __m512i sum[16];
    for (__m512i& s : sum) s = _mm512_setzero_si512();
    for (int64_t i = 0; i < words; i += 8) {
      const __mmask8 inside = words - i >= 8 ? 0xff : static_cast<__mmask8>((1 << (words - i)) - 1);
      __m512i first[4];
#pragma GCC unroll 4
      for (int a = 0; a < 4; ++a) first[a] = _mm512_maskz_loadu_epi64(inside, planes[a] + i);
#pragma GCC unroll 4
      for (int b = 0; b < 4; ++b) {
        const uint64_t* at = planes[b] + skip + i;
        const __m512i second = _mm512_or_si512(_mm512_srlv_epi64(_mm512_loadu_si512(at), down),
                                               _mm512_sllv_epi64(_mm512_loadu_si512(at + 1), up));
#pragma GCC unroll 4
        for (int a = 0; a < 4; ++a)
          sum[a * 4 + b] =
              _mm512_add_epi64(sum[a * 4 + b], _mm512_popcnt_epi64(_mm512_and_si512(first[a], second)));
      }
    }
    for (int i = 0; i < 16; ++i) counts[lag * 16 + i] += _mm512_reduce_add_epi64(sum[i]);
  }
}

}  // namespace motifkit::cpu::vpopcntdq
