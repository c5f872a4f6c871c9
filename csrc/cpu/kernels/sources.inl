// Sources of values: one call gives all lanes of a position. Part of kernels.inl.

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

// One lane of a sum of table rows, added in the order that all lanes are.
template <typename T>
struct LaneSource {
  const char* rows;
  const uint32_t* offsets;
  int64_t first, chunk_bytes;
  int chunk, chunks;

  LaneSource(const Tables<T>& t, const Words& w)
      : rows(reinterpret_cast<const char*>(t.rows)),
        offsets(w.offsets),
        first(w.first),
        chunk_bytes(t.chunk_bytes),
        chunk(t.chunk),
        chunks(t.chunks) {}

  MK_INLINE T load(int64_t t, int lane) const {
    const uint32_t* word = offsets + (t - first);
    const char* table = rows + lane * static_cast<int64_t>(sizeof(T));
    T z = *reinterpret_cast<const T*>(table + *word);
    for (int j = 1; j < chunks; ++j) {
      word += chunk;
      table += chunk_bytes;
      z += *reinterpret_cast<const T*>(table + *word);
    }
    return z;
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
