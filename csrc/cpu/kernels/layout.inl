// Between rows of lanes and columns of an output. Part of kernels.inl.

#if MK_VECTOR_BYTES == 64
inline void transpose16(__m512 (&r)[16]) {
  __m512 t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[4 * i] = _mm512_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
    r[4 * i + 1] = _mm512_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
    r[4 * i + 2] = _mm512_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
    r[4 * i + 3] = _mm512_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
    r[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

inline __mmask16 first_bits(int64_t n) {
  return static_cast<__mmask16>(n >= 16 ? 0xffff : (1u << n) - 1);
}

// Tiles of 16 x 16. The last one of more than 16 rows, or columns, begins early enough to be whole: masked
// stores that cross cache lines cost more than writing a few values twice.
inline int64_t tile_start(int64_t at, int64_t count) {
  return count >= 16 ? lower(at, count - 16) : at;
}

MK_INLINE void load_tile(const float* src, int64_t stride, __m512 (&tile)[16]) {
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) tile[i] = _mm512_loadu_ps(src + i * stride);
}

MK_INLINE void store_tile(const __m512 (&tile)[16], float* dst, int64_t stride) {
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) _mm512_storeu_ps(dst + i * stride, tile[i]);
}

void to_columns(const float* src, int64_t rows, int lanes, int64_t live, float* dst, int64_t dst_stride) {
  for (int64_t at = 0; at < rows; at += 16) {
    const int64_t row = tile_start(at, rows);
    for (int64_t first = 0; first < live; first += 16) {
      const int64_t lane = tile_start(first, live), tall = rows - row, wide = live - lane;
      float* out = dst + lane * dst_stride + row;
      __m512 tile[16];
      load_tile(src + row * lanes + lane, lanes, tile);
      transpose16(tile);
      if (tall >= 16 && wide >= 16) {
        store_tile(tile, out, dst_stride);
      } else {
        float columns[16 * 16];
        store_tile(tile, columns, 16);
        for (int64_t i = 0; i < lower(wide, 16); ++i)
          _mm512_mask_storeu_ps(out + i * dst_stride, first_bits(tall), _mm512_loadu_ps(columns + i * 16));
      }
    }
  }
}

void to_rows(const float* src, int64_t src_stride, int64_t rows, int lanes, int64_t live, float* dst) {
  for (int64_t at = 0; at < rows; at += 16) {
    const int64_t row = tile_start(at, rows);
    const __mmask16 mask = first_bits(rows - row);
    for (int64_t lane = 0; lane < lanes; lane += 16) {
      const float* in = src + lane * src_stride + row;
      const int64_t wide = live - lane;
      __m512 tile[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i)
        tile[i] = i < wide ? _mm512_maskz_loadu_ps(mask, in + i * src_stride) : _mm512_setzero_ps();
      transpose16(tile);
      float* out = dst + row * lanes + lane;
      const int64_t tall = rows - row;
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i)
        if (i < tall) _mm512_storeu_ps(out + i * lanes, tile[i]);
    }
  }
}
#endif

template <typename T>
void to_columns(const T* src, int64_t rows, int lanes, int64_t live, T* dst, int64_t dst_stride) {
  for (int64_t lane = 0; lane < live; ++lane)
    for (int64_t row = 0; row < rows; ++row) dst[lane * dst_stride + row] = src[row * lanes + lane];
}

template <typename T>
void to_rows(const T* src, int64_t src_stride, int64_t rows, int lanes, int64_t live, T* dst) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t lane = 0; lane < live; ++lane) dst[row * lanes + lane] = src[lane * src_stride + row];
    for (int64_t lane = live; lane < lanes; ++lane) dst[row * lanes + lane] = 0;
  }
}

// Whole cache lines of dst are written past the caches, and so never read.
template <typename T>
void stream(const T* src, int64_t count, T* dst) {
  int64_t i = 0;
#if MK_VECTOR_BYTES == 64
  constexpr int64_t kLine = 64 / sizeof(T);
  for (; i < count && reinterpret_cast<uintptr_t>(dst + i) % 64 != 0; ++i) dst[i] = src[i];
  for (; i + kLine <= count; i += kLine)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(dst + i), _mm512_loadu_si512(src + i));
#endif
  for (; i < count; ++i) dst[i] = src[i];
}

template <typename T>
void sum_rows(const T* rows, int64_t count, int lanes, double* total) {
  using S = Simd<T>;
  for (int lane = 0; lane < lanes; lane += S::kWidth) {
    auto sum = S::set(0);
    for (int64_t row = 0; row < count; ++row) sum = S::add(sum, S::load(rows + row * lanes + lane));
    T values[S::kWidth];
    S::store(values, sum);
    for (int i = 0; i < S::kWidth; ++i) total[lane + i] += values[i];
  }
}
