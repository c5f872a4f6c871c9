// From gradients at kept positions to gradients of the weights. Part of kernels.inl.

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
        auto here = S::set_index(begin - start);
        for (int64_t t = begin; t < end; ++t, here = S::next(here)) {
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
