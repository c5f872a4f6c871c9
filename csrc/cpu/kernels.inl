// The inner loops, compiled once per instruction set: the including file defines MK_ISA (a namespace) and
// MK_VECTOR_BYTES. No standard library code may appear here: an inline function instantiated under -mavx512f
// could be the copy the linker keeps for everyone.

#include "cpu/kernels.h"

#if MK_VECTOR_BYTES > 16
#include <immintrin.h>
#endif

namespace motifkit::cpu::MK_ISA {
namespace {

#include "cpu/simd.h"

inline int64_t lower(int64_t a, int64_t b) {
  return a < b ? a : b;
}
inline int64_t upper(int64_t a, int64_t b) {
  return a > b ? a : b;
}

// ---- words and tables
// ------------------------------------------------------------------------------------------------

void words(const uint8_t* codes, int64_t length, int64_t first, int64_t count, int chunk, uint32_t row_bytes,
           uint8_t* letters, uint32_t* offsets) {
  const int64_t needed = count + chunk - 1;
  const int64_t inside_begin = lower(upper(-first, 0), needed);
  const int64_t inside_end = upper(lower(length - first, needed), inside_begin);
  for (int64_t i = 0; i < inside_begin; ++i) letters[i] = 4;
  for (int64_t i = inside_begin; i < inside_end; ++i) {
    const uint8_t code = codes[first + i];
    letters[i] = code < 4 ? code : 4;
  }
  for (int64_t i = inside_end; i < needed; ++i) letters[i] = 4;
  const uint32_t w1 = row_bytes * 5, w2 = row_bytes * 25, w3 = row_bytes * 125;
  switch (chunk) {
    case 1:
      for (int64_t i = 0; i < count; ++i) offsets[i] = letters[i] * row_bytes;
      break;
    case 2:
      for (int64_t i = 0; i < count; ++i) offsets[i] = letters[i] * row_bytes + letters[i + 1] * w1;
      break;
    case 3:
      for (int64_t i = 0; i < count; ++i)
        offsets[i] = letters[i] * row_bytes + letters[i + 1] * w1 + letters[i + 2] * w2;
      break;
    default:
      for (int64_t i = 0; i < count; ++i)
        offsets[i] = letters[i] * row_bytes + letters[i + 1] * w1 + letters[i + 2] * w2 + letters[i + 3] * w3;
  }
}

template <typename T>
void tables(const T* weight, int64_t live, int64_t width, int64_t column, int64_t columns, const T* sign,
            T* scratch, const Tables<T>& out) {
  using S = Simd<T>;
  const int lanes = out.lanes;
  const int64_t padded = static_cast<int64_t>(out.chunks) * out.chunk;
  // scratch[k][letter][lane]; N and the columns past the filter are zero.
  for (int64_t i = 0; i < padded * kWords * lanes; ++i) scratch[i] = 0;
  for (int64_t lane = 0; lane < live; ++lane) {
    T poison = 0;  // NaN where a weight is not finite: the dense sum then holds 0 * inf
    for (int64_t i = 0; i < 4 * width; ++i) poison += weight[lane * 4 * width + i] * 0;
    for (int letter = 0; letter < 4; ++letter) {
      const T* w = weight + (lane * 4 + letter) * width + column;
      for (int64_t k = 0; k < columns; ++k) scratch[(k * kWords + letter) * lanes + lane] = w[k] * sign[lane];
    }
    if (poison != poison)
      for (int letter = 0; letter < kWords; ++letter) scratch[letter * lanes + lane] += poison;
  }
  for (int j = 0; j < out.chunks; ++j) {
    T* rows = reinterpret_cast<T*>(reinterpret_cast<char*>(out.rows) + j * out.chunk_bytes);
    const T* first = scratch + static_cast<int64_t>(j) * out.chunk * kWords * lanes;
    for (int64_t i = 0; i < kWords * lanes; ++i) rows[i] = first[i];
    int64_t count = kWords;  // rows so far: all words of the letters before this one
    for (int letter = 1; letter < out.chunk; ++letter, count *= kWords) {
      const T* added = first + static_cast<int64_t>(letter) * kWords * lanes;
      for (int value = kWords - 1; value >= 0; --value)  // value 0 last: it overwrites the rows it reads
        for (int64_t row = 0; row < count; ++row)
          for (int lane = 0; lane < lanes; lane += S::kWidth)
            S::store(rows + (value * count + row) * lanes + lane,
                     S::add(S::load(rows + row * lanes + lane), S::load(added + value * lanes + lane)));
    }
  }
}

// ---- sources of values: one call gives all lanes of a position
// -------------------------------------------------------

// Sums of table rows. kChunks fixes the number of look-ups at compile time; 0 leaves it to run time.
template <typename T, int kVectors, int kChunks>
struct TableSource {
  using S = Simd<T>;
  static constexpr bool kMayHoldNaN = false;  // a NaN weight makes the whole lane NaN
  const char* rows;
  const uint32_t* offsets;
  int64_t first, chunk_bytes;
  int chunk, chunks;

  TableSource(const Tables<T>& t, const Words& w)
      : rows(reinterpret_cast<const char*>(t.rows)),
        offsets(w.offsets),
        first(w.first),
        chunk_bytes(t.chunk_bytes),
        chunk(t.chunk),
        chunks(t.chunks) {}

  MK_INLINE void load(int64_t t, typename S::V (&z)[kVectors]) const {
    const uint32_t* word = offsets + (t - first);
    const char* table = rows;
    const T* row = reinterpret_cast<const T*>(table + *word);
    for (int v = 0; v < kVectors; ++v) z[v] = S::load(row + v * S::kWidth);
    const int count = kChunks > 0 ? kChunks : chunks;
#pragma GCC unroll 8
    for (int j = 1; j < count; ++j) {
      word += chunk;
      table += chunk_bytes;
      row = reinterpret_cast<const T*>(table + *word);
      for (int v = 0; v < kVectors; ++v) z[v] = S::add(z[v], S::load(row + v * S::kWidth));
    }
  }
};

// Values already laid out (positions, lanes).
template <typename T, int kVectors>
struct RowSource {
  using S = Simd<T>;
  static constexpr bool kMayHoldNaN = true;
  const T* rows;
  int64_t first;

  MK_INLINE void load(int64_t t, typename S::V (&z)[kVectors]) const {
    const T* row = rows + (t - first) * kVectors * S::kWidth;
    for (int v = 0; v < kVectors; ++v) z[v] = S::load(row + v * S::kWidth);
  }
};

// Calls body.template operator()<kChunks>() with the number of look-ups where that is common, else 0.
template <typename Body>
void with_chunks(int chunks, Body body) {
  switch (chunks) {
    case 2:
      return body.template operator()<2>();
    case 3:
      return body.template operator()<3>();
    case 4:
      return body.template operator()<4>();
    case 5:
      return body.template operator()<5>();
    case 6:
      return body.template operator()<6>();
    case 7:
      return body.template operator()<7>();
    default:
      return body.template operator()<0>();
  }
}

// ---- pooling
// ---------------------------------------------------------------------------------------------------------

// Largest value so far and the lowest position that holds it, a lane each.
template <typename T, int kVectors, bool kKeep>
struct Best {
  using S = Simd<T>;
  typename S::V value[kVectors];
  typename S::I index[kVectors];

  template <typename Source>
  MK_INLINE void start(const Source& source, int64_t t) {
    source.load(t, value);
    if constexpr (kKeep)
      for (int v = 0; v < kVectors; ++v) index[v] = S::set_index(t);
  }

  template <typename Source>
  MK_INLINE void extend(const Source& source, int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      typename S::V z[kVectors];
      source.load(t, z);
      take<Source::kMayHoldNaN>(z, S::set_index(t));
    }
  }

  template <bool kMayHoldNaN>
  MK_INLINE void take(const typename S::V (&z)[kVectors], typename S::I t) {
    for (int v = 0; v < kVectors; ++v) {
      auto better = S::gt(z[v], value[v]);
      if constexpr (kMayHoldNaN) better = S::either(better, S::unordered(z[v]));
      value[v] = S::select(better, z[v], value[v]);
      if constexpr (kKeep) index[v] = S::select_index(better, t, index[v]);
    }
  }

  // `later` stands for positions after all of ours: a tie stays with us.
  MK_INLINE void combine(const Best& later) {
    for (int v = 0; v < kVectors; ++v) {
      const auto better = S::either(S::gt(later.value[v], value[v]), S::unordered(later.value[v]));
      value[v] = S::select(better, later.value[v], value[v]);
      if constexpr (kKeep) index[v] = S::select_index(better, later.index[v], index[v]);
    }
  }

  MK_INLINE void store(T* out, int32_t* kept) const {
    for (int v = 0; v < kVectors; ++v) {
      S::store(out + v * S::kWidth, value[v]);
      if constexpr (kKeep) S::store_index(kept + v * S::kWidth, index[v]);
    }
  }
};

template <typename T, int kVectors, bool kKeep, typename Source>
void pool_apart(const Source& source, const PoolTile& tile, T* out, int32_t* kept) {
  for (int64_t j = tile.begin; j < tile.end; ++j) {
    const int64_t start = j * tile.shape.stride - tile.shape.padding;
    const int64_t begin = upper(start, 0), end = lower(start + tile.shape.size, tile.length);
    Best<T, kVectors, kKeep> best;
    best.start(source, begin);
    best.extend(source, begin + 1, end);
    best.store(out, kept);
    out += kVectors * Simd<T>::kWidth;
    if constexpr (kKeep) kept += kVectors * Simd<T>::kWidth;
  }
}

// Overlapping windows in time that does not grow with the overlap (van Herk; Gil and Werman). The row is cut
// into segments of one stride. A window is q = size / stride whole segments and the head (size % stride
// positions) of the next. In blocks of q segments, q whole segments are a suffix of one block and a prefix of
// the next.
template <typename T, int kVectors, bool kKeep, typename Source>
void pool_overlapping(const Source& source, const PoolTile& tile, T* scratch, T* out, int32_t* kept) {
  using Value = Best<T, kVectors, kKeep>;
  const int64_t stride = tile.shape.stride, padding = tile.shape.padding;
  const int64_t q = tile.shape.size / stride, rest = tile.shape.size % stride;
  Value* current = reinterpret_cast<Value*>(scratch);  // segments of this block, then their suffix maxima
  Value* next = current + q;
  // [begin, end) of segment s; empty (begin >= end) where it lies outside the row.
  const auto segment_begin = [&](int64_t s) { return upper(s * stride - padding, 0); };
  const auto segment_end = [&](int64_t s) { return lower((s + 1) * stride - padding, tile.length); };

  for (int64_t s = 0; s < q; ++s) {
    const int64_t begin = segment_begin(tile.begin + s), end = segment_end(tile.begin + s);
    if (begin >= end) continue;
    current[s].start(source, begin);
    current[s].extend(source, begin + 1, end);
  }
  for (int64_t base = tile.begin; base < tile.end; base += q) {
    for (int64_t s = q - 2; s >= 0; --s) {
      const int64_t here = base + s;
      const bool empty = segment_begin(here) >= segment_end(here);
      const bool later_empty = segment_begin(here + 1) >= segment_end(here + 1);
      if (empty)
        current[s] = current[s + 1];  // padding before the row; past its end no window begins
      else if (!later_empty)
        current[s].combine(current[s + 1]);
    }
    Value prefix;
    bool prefix_empty = true;
    for (int64_t o = 0; o < q && base + o < tile.end; ++o) {
      const int64_t s = base + q + o;
      const int64_t begin = segment_begin(s), end = segment_end(s), head_end = lower(end, begin + rest);
      Value window = current[o];
      if (!prefix_empty) window.combine(prefix);
      const bool last = base + o + 1 == tile.end;  // positions past its head are not in the tile
      if (begin < end && (rest > 0 || !last)) {
        next[o].start(source, begin);
        if (rest > 0) {
          next[o].extend(source, begin + 1, head_end);
          window.combine(next[o]);
        }
        if (!last) {
          next[o].extend(source, rest > 0 ? head_end : begin + 1, end);
          if (prefix_empty)
            prefix = next[o];
          else
            prefix.combine(next[o]);
          prefix_empty = false;
        }
      }
      window.store(out, kept);
      out += kVectors * Simd<T>::kWidth;
      if constexpr (kKeep) kept += kVectors * Simd<T>::kWidth;
    }
    Value* swap = current;
    current = next;
    next = swap;
  }
}

template <typename T, int kVectors, typename Source>
void pool(const Source& source, const PoolTile& tile, T* scratch, T* out, int32_t* kept) {
  const bool apart = tile.shape.size <= tile.shape.stride;
  if (kept != nullptr) {
    if (apart)
      pool_apart<T, kVectors, true>(source, tile, out, kept);
    else
      pool_overlapping<T, kVectors, true>(source, tile, scratch, out, kept);
  } else {
    if (apart)
      pool_apart<T, kVectors, false>(source, tile, out, kept);
    else
      pool_overlapping<T, kVectors, false>(source, tile, scratch, out, kept);
  }
}

// Calls body.template operator()<kVectors>() for a block of 32 or 16 lanes.
template <typename T, typename Body>
auto with_vectors(int lanes, Body body) {
  if (lanes == kBlockLanes) return body.template operator()<kBlockLanes / Simd<T>::kWidth>();
  return body.template operator()<kTailLanes / Simd<T>::kWidth>();
}

template <typename T>
void pool_tables(const Tables<T>& t, const Words& w, const PoolTile& tile, T* scratch, T* out,
                 int32_t* kept) {
  with_vectors<T>(t.lanes, [&]<int kVectors>() {
    with_chunks(t.chunks, [&]<int kChunks>() {
      pool<T, kVectors>(TableSource<T, kVectors, kChunks>(t, w), tile, scratch, out, kept);
    });
  });
}

template <typename T>
void pool_rows(const T* rows, int64_t first, int lanes, const PoolTile& tile, T* scratch, T* out,
               int32_t* kept) {
  with_vectors<T>(lanes, [&]<int kVectors>() {
    pool<T, kVectors>(RowSource<T, kVectors>{rows, first}, tile, scratch, out, kept);
  });
}

// ---- convolution, best window, hits
// ----------------------------------------------------------------------------------

template <typename T>
void convolve(const Tables<T>& t, const Words& w, int64_t begin, int64_t end, const T* bias, T* out) {
  using S = Simd<T>;
  with_vectors<T>(t.lanes, [&]<int kVectors>() {
    with_chunks(t.chunks, [&]<int kChunks>() {
      const TableSource<T, kVectors, kChunks> source(t, w);
      typename S::V z[kVectors], b[kVectors];
      for (int v = 0; v < kVectors; ++v) b[v] = S::load(bias + v * S::kWidth);
      T* row = out;
      for (int64_t p = begin; p < end; ++p, row += kVectors * S::kWidth) {
        source.load(p, z);
        for (int v = 0; v < kVectors; ++v) S::store(row + v * S::kWidth, S::add(z[v], b[v]));
      }
    });
  });
}

template <typename T>
void best(const Tables<T>& t, const Words& w, int64_t begin, int64_t end, bool fresh, T* value,
          int32_t* position) {
  using S = Simd<T>;
  with_vectors<T>(t.lanes, [&]<int kVectors>() {
    with_chunks(t.chunks, [&]<int kChunks>() {
      const TableSource<T, kVectors, kChunks> source(t, w);
      Best<T, kVectors, true> best;
      if (fresh) {
        best.start(source, begin++);
      } else {
        for (int v = 0; v < kVectors; ++v) {
          best.value[v] = S::load(value + v * S::kWidth);
          best.index[v] = S::load_index(position + v * S::kWidth);
        }
      }
      // Far into a sequence a new maximum is rare: look for one in a run with the maximum alone, and only
      // then for where.
      constexpr int64_t kRun = 64;
      while (begin < end) {
        const int64_t run_end = lower(begin + kRun, end);
        bool raised = fresh;
        if (!fresh) {
          typename S::V top[kVectors], z[kVectors];
          for (int v = 0; v < kVectors; ++v) top[v] = best.value[v];
          for (int64_t p = begin; p < run_end; ++p) {
            source.load(p, z);
            for (int v = 0; v < kVectors; ++v) top[v] = S::max(z[v], top[v]);
          }
          for (int v = 0; v < kVectors; ++v) raised |= S::bits(S::gt(top[v], best.value[v])) != 0;
        }
        if (raised) best.extend(source, begin, run_end);
        begin = run_end;
      }
      best.store(value, position);
    });
  });
}

template <typename T>
int64_t hits(const Tables<T>& t, const Words& w, int64_t begin, int64_t end, const T* threshold,
             int32_t* lane, int32_t* position, T* score) {
  using S = Simd<T>;
  int64_t count = 0;
  with_vectors<T>(t.lanes, [&]<int kVectors>() {
    with_chunks(t.chunks, [&]<int kChunks>() {
      const TableSource<T, kVectors, kChunks> source(t, w);
      typename S::V z[kVectors], bar[kVectors];
      for (int v = 0; v < kVectors; ++v) bar[v] = S::load(threshold + v * S::kWidth);
      T values[kVectors * S::kWidth];
      for (int64_t p = begin; p < end; ++p) {
        source.load(p, z);
        uint32_t above = 0;
        for (int v = 0; v < kVectors; ++v) above |= S::bits(S::gt(z[v], bar[v])) << (v * S::kWidth);
        if (above == 0) continue;
        for (int v = 0; v < kVectors; ++v) S::store(values + v * S::kWidth, z[v]);
        for (; above != 0; above &= above - 1, ++count) {
          const int which = __builtin_ctz(above);
          lane[count] = which;
          position[count] = static_cast<int32_t>(p);
          score[count] = values[which];
        }
      }
    });
  });
  return count;
}

// ---- layout
// ----------------------------------------------------------------------------------------------------------

template <typename T>
void affine(T* x, int64_t rows, int lanes, const T* centre, const T* scale, const T* shift, bool relu) {
  using S = Simd<T>;
  const auto zero = S::set(0);
  for (int lane = 0; lane < lanes; lane += S::kWidth) {
    const auto c = S::load(centre + lane), a = S::load(scale + lane), b = S::load(shift + lane);
    for (int64_t row = 0; row < rows; ++row) {
      auto y = S::add(S::mul(S::load(x + row * lanes + lane) - c, a), b);
      if (relu) y = S::select(S::gt(zero, y), zero, y);
      S::store(x + row * lanes + lane, y);
    }
  }
}

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

// Tiles of 16 x 16. The last one of more than 16 rows begins early enough to be whole: masked stores that
// cross cache lines cost more than writing a few rows twice.
inline int64_t tile_start(int64_t row, int64_t rows) {
  return rows >= 16 ? lower(row, rows - 16) : row;
}

void to_columns(const float* src, int64_t rows, int lanes, int64_t live, float* dst, int64_t dst_stride) {
  for (int64_t at = 0; at < rows; at += 16) {
    const int64_t row = tile_start(at, rows);
    const __mmask16 mask = first_bits(rows - row);
    for (int64_t lane = 0; lane < live; lane += 16) {
      __m512 tile[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) tile[i] = _mm512_loadu_ps(src + (row + i) * lanes + lane);
      transpose16(tile);
      float* out = dst + lane * dst_stride + row;
      const int64_t wide = live - lane;
      if (mask == 0xffff) {
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i)
          if (i < wide) _mm512_storeu_ps(out + i * dst_stride, tile[i]);
      } else {
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i)
          if (i < wide) _mm512_mask_storeu_ps(out + i * dst_stride, mask, tile[i]);
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

// ---- gradients
// -------------------------------------------------------------------------------------------------------

template <typename T, typename Stored>
void narrow_to(const int32_t* kept, const T* value, const PoolTile& tile, int lanes, Stored* out,
               int64_t stride) {
  for (int64_t j = tile.begin; j < tile.end; ++j, kept += lanes, out += stride) {
    const int32_t start = static_cast<int32_t>(j * tile.shape.stride - tile.shape.padding);
    if (value == nullptr) {
      for (int lane = 0; lane < lanes; ++lane) out[lane] = static_cast<Stored>(kept[lane] - start);
    } else {
      for (int lane = 0; lane < lanes; ++lane)
        out[lane] = static_cast<Stored>(value[lane] > 0 ? kept[lane] - start : -1);
      value += lanes;
    }
  }
}

template <typename T>
void narrow(const int32_t* kept, const T* value, const PoolTile& tile, int lanes, bool wide, void* out,
            int64_t stride) {
  if (wide)
    narrow_to(kept, value, tile, lanes, static_cast<int32_t*>(out), stride);
  else
    narrow_to(kept, value, tile, lanes, static_cast<uint8_t*>(out), stride);
}

// Adds the lanes of z to the rows of the words of window t.
template <typename T, int kVectors, int kChunks>
MK_INLINE void add_to_words(const Tables<T>& sums, const Words& w, int64_t t,
                            const typename Simd<T>::V (&z)[kVectors]) {
  using S = Simd<T>;
  const uint32_t* word = w.offsets + (t - w.first);
  char* table = reinterpret_cast<char*>(sums.rows);
  const int count = kChunks > 0 ? kChunks : sums.chunks;
#pragma GCC unroll 8
  for (int j = 0; j < count; ++j, word += sums.chunk, table += sums.chunk_bytes) {
    T* row = reinterpret_cast<T*>(table + *word);
    for (int v = 0; v < kVectors; ++v)
      S::store(row + v * S::kWidth, S::add(S::load(row + v * S::kWidth), z[v]));
  }
}

template <typename T, typename Stored>
void scatter_positions_of(const Tables<T>& sums, const Words& w, const PoolTile& tile, const T* grad,
                          const Stored* kept, int64_t kept_stride, double* total) {
  using S = Simd<T>;
  with_vectors<T>(sums.lanes, [&]<int kVectors>() {
    with_chunks(sums.chunks, [&]<int kChunks>() {
      const T* row = grad;
      typename S::V sum[kVectors];
      for (int v = 0; v < kVectors; ++v) sum[v] = S::set(0);
      const auto none = S::set_index(static_cast<Stored>(-1));
      for (int64_t j = tile.begin; j < tile.end; ++j, row += sums.lanes, kept += kept_stride) {
        typename S::V g[kVectors];
        typename S::I where[kVectors];
        for (int v = 0; v < kVectors; ++v) {
          where[v] = S::load_index(kept + v * S::kWidth);
          g[v] = S::load(row + v * S::kWidth);
          sum[v] = S::add(sum[v], S::select(S::equal(where[v], none), S::set(0), g[v]));
        }
        const int64_t start = j * tile.shape.stride - tile.shape.padding;
        const int64_t begin = upper(start, 0), end = lower(start + tile.shape.size, tile.length);
        for (int64_t t = begin; t < end; ++t) {
          const auto here = S::set_index(t - start);
          typename S::V z[kVectors];
          for (int v = 0; v < kVectors; ++v) z[v] = S::select(S::equal(where[v], here), g[v], S::set(0));
          add_to_words<T, kVectors, kChunks>(sums, w, t, z);
        }
      }
      T values[kVectors * S::kWidth];
      for (int v = 0; v < kVectors; ++v) S::store(values + v * S::kWidth, sum[v]);
      for (int i = 0; i < kVectors * S::kWidth; ++i) total[i] += values[i];
    });
  });
}

template <typename T>
void scatter_positions(const Tables<T>& sums, const Words& w, const PoolTile& tile, const T* grad, bool wide,
                       const void* kept, int64_t kept_stride, double* total) {
  if (wide)
    scatter_positions_of(sums, w, tile, grad, static_cast<const int32_t*>(kept), kept_stride, total);
  else
    scatter_positions_of(sums, w, tile, grad, static_cast<const uint8_t*>(kept), kept_stride, total);
}

void one_hot_bits(const uint8_t* codes, int64_t length, int64_t first, int64_t count, uint8_t* even,
                  uint8_t* odd) {
  constexpr int64_t kPiece = 512;
  uint8_t nibbles[kPiece + 2];
  for (int64_t begin = 0; begin < count; begin += kPiece) {
    const int64_t wanted = lower(kPiece, count - begin), from = first + begin;
    for (int64_t i = 0; i < wanted + 2; ++i) nibbles[i] = 0;
    const int64_t inside = upper(-from, 0), inside_end = lower(length - from, wanted + 2);
    for (int64_t i = inside; i < inside_end; ++i) {
      const uint8_t c = codes[from + i];
      nibbles[i] = static_cast<uint8_t>((c == 0) | (c == 1) << 1 | (c == 2) << 2 | (c == 3) << 3);
    }
    for (int64_t i = 0; i < wanted / 2; ++i) {
      even[begin / 2 + i] = static_cast<uint8_t>(nibbles[2 * i] | nibbles[2 * i + 1] << 4);
      odd[begin / 2 + i] = static_cast<uint8_t>(nibbles[2 * i + 1] | nibbles[2 * i + 2] << 4);
    }
  }
}

// sums[..] += value[i] under the bits at place[i], for kVectors vectors from bit `first` of each; n values.
template <typename T, int kVectors>
void add_under_bits(const uint8_t* bits, int64_t first, const T* value, const uint32_t* place, int64_t n,
                    T* sums) {
  using S = Simd<T>;
  typename S::V sum[kVectors];
  for (int v = 0; v < kVectors; ++v) sum[v] = S::load(sums + v * S::kWidth);
  for (int64_t i = 0; i < n; ++i) {
    const auto g = S::set(value[i]);
    const uint8_t* at = bits + place[i] + first / 8;
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v)
      sum[v] = S::add_where(sum[v], at + v * S::kWidth / 8, v * S::kWidth % 8, g);
  }
  for (int v = 0; v < kVectors; ++v) S::store(sums + v * S::kWidth, sum[v]);
}

template <typename T>
void add_listed(const uint8_t* bits, const T* value, const uint32_t* place, int64_t n, int64_t features,
                T* sums) {
  constexpr int64_t kWidth = Simd<T>::kWidth;
  for (int64_t first = 0; first < features;) {
    // Features are a multiple of 16: with at most 8 vectors at a time, every call begins on a whole byte.
    int64_t vectors = lower((features - first) / kWidth, 8);
    T* at = sums + first;
    switch (vectors) {
      case 8:
        add_under_bits<T, 8>(bits, first, value, place, n, at);
        break;
      case 7:
        add_under_bits<T, 7>(bits, first, value, place, n, at);
        break;
      case 6:
        add_under_bits<T, 6>(bits, first, value, place, n, at);
        break;
      case 5:
        add_under_bits<T, 5>(bits, first, value, place, n, at);
        break;
      case 4:
        add_under_bits<T, 4>(bits, first, value, place, n, at);
        break;
      case 3:
        add_under_bits<T, 3>(bits, first, value, place, n, at);
        break;
      case 2:
        add_under_bits<T, 2>(bits, first, value, place, n, at);
        break;
      default:
        add_under_bits<T, 1>(bits, first, value, place, n, at);
        vectors = 1;
    }
    first += vectors * kWidth;
  }
}

template <typename T, typename Stored>
void scatter_windows_of(const ScatterTile* tiles, int64_t count, const ScatterShape& shape, const T* grad,
                        const Stored* kept, const uint8_t* bits, T* value, uint32_t* place, T* sums,
                        double* total) {
  for (int64_t f = 0; f < shape.filters; ++f) {
    int64_t n = 0;
    T sum = 0;
    for (int64_t i = 0; i < count; ++i) {
      const ScatterTile& tile = tiles[i];
      const T* g = grad + tile.grad + f * shape.grad_stride;
      const Stored* where = kept + tile.kept + f;
      uint32_t start = 0;
      for (int64_t j = 0; j < tile.windows; ++j, where += shape.kept_stride, start += shape.stride) {
        const uint32_t position = start + static_cast<uint32_t>(*where);
        const bool passes = *where != static_cast<Stored>(-1);
        value[n] = g[j];
        place[n] = tile.bits + (position & 1) * shape.half + (position >> 1);
        sum += passes ? g[j] : 0;
        n += passes;
      }
    }
    total[f] += sum;
    add_listed(bits, value, place, n, shape.features, sums + f * shape.features);
  }
}

template <typename T>
void scatter_windows(const ScatterTile* tiles, int64_t count, const ScatterShape& shape, const T* grad,
                     const void* kept, const uint8_t* bits, T* value, uint32_t* place, T* sums,
                     double* total) {
  if (shape.wide)
    scatter_windows_of(tiles, count, shape, grad, static_cast<const int32_t*>(kept), bits, value, place, sums,
                       total);
  else
    scatter_windows_of(tiles, count, shape, grad, static_cast<const uint8_t*>(kept), bits, value, place, sums,
                       total);
}

template <typename T>
void scatter_rows(const Tables<T>& sums, const Words& w, int64_t begin, int64_t end, const T* rows) {
  using S = Simd<T>;
  with_vectors<T>(sums.lanes, [&]<int kVectors>() {
    with_chunks(sums.chunks, [&]<int kChunks>() {
      const RowSource<T, kVectors> source{rows, begin};
      typename S::V z[kVectors];
      for (int64_t t = begin; t < end; ++t) {
        source.load(t, z);
        add_to_words<T, kVectors, kChunks>(sums, w, t, z);
      }
    });
  });
}

template <typename T>
void fold(const Tables<T>& sums, int64_t live, int64_t width, double* out) {
  using S = Simd<T>;
  const int lanes = sums.lanes;
  T total[kBlockLanes];
  for (int j = 0; j < sums.chunks; ++j) {
    T* rows = reinterpret_cast<T*>(reinterpret_cast<char*>(sums.rows) + j * sums.chunk_bytes);
    int64_t below = 1;  // rows for each value of the word's last letter
    for (int i = 1; i < sums.chunk; ++i) below *= kWords;
    for (int i = sums.chunk - 1; i >= 0; --i, below /= kWords) {
      const int64_t column = static_cast<int64_t>(j) * sums.chunk + i;
      for (int value = 0; value < 4 && column < width; ++value) {
        for (int lane = 0; lane < lanes; lane += S::kWidth) {
          auto sum = S::set(0);
          for (int64_t row = value * below; row < (value + 1) * below; ++row)
            sum = S::add(sum, S::load(rows + row * lanes + lane));
          S::store(total + lane, sum);
        }
        for (int64_t lane = 0; lane < live; ++lane) out[(lane * 4 + value) * width + column] += total[lane];
      }
      // Sum over this letter, so that the first `below` rows are the table of the letters before it.
      for (int64_t row = 0; row < below; ++row)
        for (int lane = 0; lane < lanes; lane += S::kWidth) {
          auto sum = S::load(rows + row * lanes + lane);
          for (int value = 1; value < kWords; ++value)
            sum = S::add(sum, S::load(rows + (value * below + row) * lanes + lane));
          S::store(rows + row * lanes + lane, sum);
        }
    }
  }
}

// ---- letter counts
// ---------------------------------------------------------------------------------------------------

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

void multiply(const double* x, const double* c, int64_t rows, int64_t size, double* out) {
  for (int64_t row = 0; row < rows; ++row) {
    double* sums = out + row * size;
    for (int64_t j = 0; j < size; ++j) sums[j] = 0;
    for (int64_t i = 0; i < size; i += 4) {  // size is a multiple of four
      const double* w = x + row * size + i;
      const double *c0 = c + i * size, *c1 = c0 + size, *c2 = c1 + size, *c3 = c2 + size;
      for (int64_t j = 0; j < size; ++j)
        sums[j] += w[0] * c0[j] + w[1] * c1[j] + (w[2] * c2[j] + w[3] * c3[j]);
    }
  }
}

}  // namespace

template <typename T>
constexpr Kernels<T> make_kernels() {
  return {words,
          tables<T>,
          pool_tables<T>,
          pool_rows<T>,
          convolve<T>,
          best<T>,
          hits<T>,
          affine<T>,
          to_columns,
          to_rows,
          sum_rows<T>,
          narrow<T>,
          scatter_positions<T>,
          one_hot_bits,
          scatter_windows<T>,
          scatter_rows<T>,
          fold<T>};
}

extern const Kernels<float> float_kernels;
extern const Kernels<double> double_kernels;
extern const CountKernels counting_kernels;
constexpr Kernels<float> float_kernels = make_kernels<float>();
constexpr Kernels<double> double_kernels = make_kernels<double>();
constexpr CountKernels counting_kernels = {bit_planes, pair_counts, multiply};

}  // namespace motifkit::cpu::MK_ISA
