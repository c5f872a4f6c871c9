// Letter counts, which batch statistics are made of. Part of kernels.inl.

void bit_planes(const uint8_t* codes, int64_t length, uint64_t* const planes[4]) {
  int64_t i = 0;
#if MK_VECTOR_BYTES == 64
  for (; i < length; i += 64) {
    const int64_t n = lower(length - i, 64);
    const __mmask64 inside = n == 64 ? ~0ull : (1ull << n) - 1;
    const __m512i letters = _mm512_maskz_loadu_epi8(inside, codes + i);
    for (int a = 0; a < 4; ++a)
      planes[a][i / 64] = _mm512_mask_cmpeq_epi8_mask(inside, letters, _mm512_set1_epi8(a));
  }
#else
#if MK_VECTOR_BYTES == 32
  for (; i + 64 <= length; i += 64) {
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + i));
    const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + i + 32));
    for (int a = 0; a < 4; ++a) {
      const __m256i letter = _mm256_set1_epi8(static_cast<char>(a));
      const uint32_t l = static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, letter)));
      const uint32_t h = static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, letter)));
      planes[a][i / 64] = static_cast<uint64_t>(h) << 32 | l;
    }
  }
#endif
  for (; i < length; i += 64) {
    uint64_t bits[4] = {0, 0, 0, 0};
    for (int64_t k = 0; k < lower(length - i, 64); ++k)
      for (int a = 0; a < 4; ++a) bits[a] |= static_cast<uint64_t>(codes[i + k] == a) << k;
    for (int a = 0; a < 4; ++a) planes[a][i / 64] = bits[a];
  }
#endif
}

inline uint64_t shifted(const uint64_t* plane, int64_t word, int bits) {
  return bits == 0 ? plane[word] : plane[word] >> bits | plane[word + 1] << (64 - bits);
}

void pair_counts(const uint64_t* const planes[4], int64_t words, int64_t lags, int64_t* counts) {
  for (int64_t lag = 0; lag < lags; ++lag)
    for (int b = 0; b < 4; ++b) {
      const uint64_t* second = planes[b] + lag / 64;
      int64_t sum[4] = {0, 0, 0, 0};
      for (int64_t i = 0; i < words; ++i) {
        const uint64_t letter = shifted(second, i, static_cast<int>(lag % 64));
        for (int a = 0; a < 4; ++a) sum[a] += __builtin_popcountll(planes[a][i] & letter);
      }
      for (int a = 0; a < 4; ++a) counts[lag * 16 + a * 4 + b] += sum[a];
    }
}

void covariance(const int64_t* gram, int64_t size, int64_t stride, double windows, double* frequency,
                double* out) {
  for (int64_t i = 0; i < size; ++i) frequency[i] = static_cast<double>(gram[i * size + i]) / windows;
  for (int64_t i = 0; i < size; ++i) {
    double* row = out + i * stride;
    for (int64_t j = 0; j < size; ++j)
      row[j] = static_cast<double>(gram[i * size + j]) / windows - frequency[i] * frequency[j];
    row[size] = frequency[i];
    for (int64_t j = size + 1; j < stride; ++j) row[j] = 0;
  }
}

// kRows rows at a time, so that each number of c is read once for all of them.
template <int kRows>
MK_INLINE void multiply_rows(const double* x, const double* c, int64_t size, int64_t stride, double* out,
                             double* squares) {
  using S = Simd<double>;
  constexpr int kTogether = kProductPadding / S::kWidth >= 2 ? 2 : 1;
  typename S::V square[kRows];
  for (auto& s : square) s = S::set(0);
  for (int64_t j = 0; j < stride; j += kTogether * S::kWidth) {
    typename S::V sum[kRows][kTogether];
    for (auto& row : sum)
      for (auto& s : row) s = S::set(0);
    for (int64_t i = 0; i < size; ++i)
      for (int v = 0; v < kTogether; ++v) {
        const auto column = S::load(c + i * stride + j + v * S::kWidth);
        for (int r = 0; r < kRows; ++r)
          sum[r][v] = S::add(sum[r][v], S::mul(S::set(x[r * stride + i]), column));
      }
    for (int r = 0; r < kRows; ++r)
      for (int v = 0; v < kTogether; ++v) {
        const int64_t at = r * stride + j + v * S::kWidth;
        square[r] = S::add(square[r], S::mul(sum[r][v], S::load(x + at)));
        S::store(out + at, sum[r][v]);
      }
  }
  for (int r = 0; r < kRows; ++r) {
    double lanes[S::kWidth];
    S::store(lanes, square[r]);
    squares[r] = 0;
    for (const double lane : lanes) squares[r] += lane;
  }
}

void multiply(const double* x, const double* c, int64_t rows, int64_t size, int64_t stride, double* out,
              double* squares) {
  int64_t row = 0;
  for (; row + 4 <= rows; row += 4)
    multiply_rows<4>(x + row * stride, c, size, stride, out + row * stride, squares + row);
  for (; row < rows; ++row)
    multiply_rows<1>(x + row * stride, c, size, stride, out + row * stride, squares + row);
}
