// From gradients at kept positions to gradients of the weights. Part of kernels.inl.

// Sums of the same shape as tables. All it needs stays with it: what a vector store might overwrite would be
// read again after each.
template <typename T, int kVectors, int kChunks>
struct WordSums {
  using S = Simd<T>;
  char* rows;
  const uint32_t* offsets;
  int64_t first, chunk_bytes;
  int chunk, chunks;

  WordSums(const Tables<T>& sums, const Words& w)
      : rows(reinterpret_cast<char*>(sums.rows)),
        offsets(w.offsets),
        first(w.first),
        chunk_bytes(sums.chunk_bytes),
        chunk(sums.chunk),
        chunks(sums.chunks) {}

  // Adds the lanes of z to the rows of the words of window t.
  MK_INLINE void add(int64_t t, const typename S::V (&z)[kVectors]) const {
    const uint32_t* word = offsets + (t - first);
    char* table = rows;
    const int count = kChunks > 0 ? kChunks : chunks;
#pragma GCC unroll 8
    for (int j = 0; j < count; ++j, word += chunk, table += chunk_bytes) {
      T* row = reinterpret_cast<T*>(table + *word);
      for (int v = 0; v < kVectors; ++v)
        S::store(row + v * S::kWidth, S::add(S::load(row + v * S::kWidth), z[v]));
    }
  }
};

template <typename T, typename Stored>
void scatter_positions_of(const Tables<T>& sums, const Words& w, const PoolTile& tile, const T* grad,
                          const Stored* kept, double* total) {
  using S = Simd<T>;
  with_vectors<T>(sums.lanes, [&]<int kVectors>() {
    with_chunks(sums.chunks, [&]<int kChunks>() {
      const WordSums<T, kVectors, kChunks> words(sums, w);
      const PoolShape shape = tile.shape;
      const int64_t length = tile.length;
      const T* row = grad;
      typename S::V sum[kVectors];
      for (int v = 0; v < kVectors; ++v) sum[v] = S::set(0);
      const auto none = S::set_index(static_cast<Stored>(-1));
      for (int64_t j = tile.begin; j < tile.end; ++j, row += sums.lanes, kept += sums.lanes) {
        typename S::V g[kVectors];
        typename S::I where[kVectors];
        for (int v = 0; v < kVectors; ++v) {
          where[v] = S::load_index(kept + v * S::kWidth);
          g[v] = S::load(row + v * S::kWidth);
          sum[v] = S::add(sum[v], S::select(S::equal(where[v], none), S::set(0), g[v]));
        }
        const int64_t start = j * shape.stride - shape.padding;
        const int64_t begin = upper(start, 0), end = lower(start + shape.size, length);
        auto here = S::set_index(begin - start);
        for (int64_t t = begin; t < end; ++t, here = S::next(here)) {
          typename S::V z[kVectors];
          for (int v = 0; v < kVectors; ++v) z[v] = S::select(S::equal(where[v], here), g[v], S::set(0));
          words.add(t, z);
        }
      }
      add_lanes<T, kVectors>(sum, total);
    });
  });
}

template <typename T>
void scatter_positions(const Tables<T>& sums, const Words& w, const PoolTile& tile, const T* grad, bool wide,
                       const void* kept, double* total) {
  if (wide)
    scatter_positions_of(sums, w, tile, grad, static_cast<const int32_t*>(kept), total);
  else
    scatter_positions_of(sums, w, tile, grad, static_cast<const uint8_t*>(kept), total);
}

#if MK_VECTOR_BYTES == 64
inline __mmask64 first_64(int64_t n) {
  return n >= 64 ? ~0ull : n <= 0 ? 0 : (1ull << n) - 1;
}

// The bits of 64 letters from `first` on, two letters a byte.
inline __m256i nibble_pairs(const uint8_t* codes, int64_t length, int64_t first) {
  const __mmask64 inside = first_64(length - first) & ~first_64(-first);
  const __m512i letters = _mm512_mask_loadu_epi8(_mm512_set1_epi8(4), inside, codes + first);
  const __m512i bits = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_setr_epi32(0x08040201, 0, 0, 0)),
                                           _mm512_min_epu8(letters, _mm512_set1_epi8(4)));
  return _mm512_cvtepi16_epi8(_mm512_maddubs_epi16(bits, _mm512_set1_epi16(0x1001)));
}

void one_hot_bits(const uint8_t* codes, int64_t length, int64_t first, int64_t count, uint8_t* even,
                  uint8_t* odd) {
  for (int64_t late = 0; late < 2; ++late) {
    uint8_t* to = late ? odd : even;
    for (int64_t i = 0; i < count; i += 64, to += 32)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), nibble_pairs(codes, length, first + i + late));
  }
}
#else
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
#endif

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

// Positions kept, (windows, lanes) to a run of windows for each lane, `windows` rounded up to kBitPadding
// apart.
template <typename Stored>
void turn_kept(const Stored* kept, int64_t windows, int lanes, Stored* out) {
  const int64_t spacing = (windows + kBitPadding - 1) / kBitPadding * kBitPadding;
  int64_t begin = 0;
#ifdef __SSE2__
  if constexpr (sizeof(Stored) == 1) {
    for (; begin + 16 <= windows; begin += 16)
      for (int lane = 0; lane < lanes; lane += 16) {
        __m128i r[16], t[16];
        for (int i = 0; i < 16; ++i)
          r[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(kept + (begin + i) * lanes + lane));
        // Each round of unpacking halves the distance between letters of one lane; four make them neighbours.
        for (int round = 0; round < 4; ++round) {
          for (int i = 0; i < 8; ++i) {
            t[2 * i] = _mm_unpacklo_epi8(r[i], r[i + 8]);
            t[2 * i + 1] = _mm_unpackhi_epi8(r[i], r[i + 8]);
          }
          for (int i = 0; i < 16; ++i) r[i] = t[i];
        }
        for (int i = 0; i < 16; ++i)
          _mm_storeu_si128(reinterpret_cast<__m128i*>(out + (lane + i) * spacing + begin), r[i]);
      }
  }
#endif
  for (; begin < windows; ++begin)
    for (int lane = 0; lane < lanes; ++lane) out[lane * spacing + begin] = kept[begin * lanes + lane];
}

// Gradients of one filter that passed, and where their windows' bits are.
template <typename T>
struct Passed {
  T* value;
  uint32_t* place;
  int64_t count;
  T sum[16];  // by window % 16, so that every instruction set adds in the same order
};

template <typename T, typename Stored>
MK_INLINE void list_passed(const ScatterTile& tile, const ScatterShape& shape, const T* grad,
                           const Stored* kept, Passed<T>& list) {
  int64_t j = 0;
#if MK_VECTOR_BYTES == 64
  if constexpr (sizeof(T) == 4 && sizeof(Stored) == 1) {
    const auto step = static_cast<int>(shape.stride);
    const __m512i one = _mm512_set1_epi32(1), half = _mm512_set1_epi32(static_cast<int>(shape.half));
    __m512i start = _mm512_mullo_epi32(
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), _mm512_set1_epi32(step));
    __m512 sum = _mm512_loadu_ps(list.sum);
    for (; j < tile.windows; j += 16, start = _mm512_add_epi32(start, _mm512_set1_epi32(16 * step))) {
      const __m128i where = _mm_loadu_si128(reinterpret_cast<const __m128i*>(kept + j));
      const __mmask16 passes = static_cast<__mmask16>(_mm_cmpneq_epi8_mask(where, _mm_set1_epi8(-1)) &
                                                      first_bits(tile.windows - j));
      const __m512 g = _mm512_maskz_loadu_ps(passes, grad + j);
      const __m512i position = _mm512_add_epi32(start, _mm512_cvtepu8_epi32(where));
      __m512i place = _mm512_add_epi32(_mm512_srli_epi32(position, 1), _mm512_set1_epi32(tile.bits));
      place = _mm512_mask_add_epi32(place, _mm512_test_epi32_mask(position, one), place, half);
      sum = _mm512_add_ps(sum, g);
      _mm512_storeu_ps(list.value + list.count, _mm512_maskz_compress_ps(passes, g));
      _mm512_storeu_si512(list.place + list.count, _mm512_maskz_compress_epi32(passes, place));
      list.count += __builtin_popcount(passes);
    }
    _mm512_storeu_ps(list.sum, sum);
    return;
  }
#endif
  for (; j < tile.windows; ++j) {
    const bool passes = kept[j] != static_cast<Stored>(-1);
    const uint32_t position = static_cast<uint32_t>(j * shape.stride) + static_cast<uint32_t>(kept[j]);
    list.value[list.count] = grad[j];
    list.place[list.count] = tile.bits + (position & 1) * shape.half + (position >> 1);
    list.sum[j % 16] += passes ? grad[j] : 0;
    list.count += passes;
  }
}

template <typename T, typename Stored>
void scatter_windows_of(const ScatterTile* tiles, int64_t count, const ScatterShape& shape, const T* grad,
                        const Stored* kept, const uint8_t* bits, const ScatterScratch<T>& scratch, T* sums,
                        double* total) {
  Stored* turned = static_cast<Stored*>(scratch.kept);
  for (int64_t i = 0; i < count; ++i)
    turn_kept(kept + tiles[i].kept, tiles[i].windows, shape.lanes, turned + tiles[i].turned);
  for (int64_t f = 0; f < shape.filters; ++f) {
    Passed<T> list{scratch.value, scratch.place, 0, {}};
    for (int64_t i = 0; i < count; ++i) {
      const int64_t spacing = (tiles[i].windows + kBitPadding - 1) / kBitPadding * kBitPadding;
      list_passed(tiles[i], shape, grad + tiles[i].grad + f * shape.grad_stride,
                  turned + tiles[i].turned + f * spacing, list);
    }
    for (const T sum : list.sum) total[f] += sum;
    add_listed(bits, list.value, list.place, list.count, shape.features, sums + f * shape.features);
  }
}

template <typename T>
void scatter_windows(const ScatterTile* tiles, int64_t count, const ScatterShape& shape, const T* grad,
                     const void* kept, const uint8_t* bits, const ScatterScratch<T>& scratch, T* sums,
                     double* total) {
  if (shape.wide)
    scatter_windows_of(tiles, count, shape, grad, static_cast<const int32_t*>(kept), bits, scratch, sums,
                       total);
  else
    scatter_windows_of(tiles, count, shape, grad, static_cast<const uint8_t*>(kept), bits, scratch, sums,
                       total);
}

template <typename T>
void scatter_rows(const Tables<T>& sums, const Words& w, int64_t begin, int64_t end, const T* rows) {
  using S = Simd<T>;
  with_vectors<T>(sums.lanes, [&]<int kVectors>() {
    with_chunks(sums.chunks, [&]<int kChunks>() {
      const WordSums<T, kVectors, kChunks> words(sums, w);
      const RowSource<T, kVectors> source{rows, begin};
      typename S::V z[kVectors];
      for (int64_t t = begin; t < end; ++t) {
        source.load(t, z);
        words.add(t, z);
      }
    });
  });
}

// Most windows have one lane or two above their thresholds: these are added one by one, which writes less
// than whole rows. Lanes of the list are taken in one loop, whose end alone has to be guessed.
template <typename T, bool kWeighted>
void scatter_above_of(const Tables<T>& tables, const Words& words, const T* bias, const LanesAbove* list,
                      int64_t count, T least, const Tables<double>& sums, const Words& places,
                      int64_t* number, double* total) {
  const LaneSource<T> source(tables, words);
  const LanesAbove* const end = list + count;
  with_chunks(sums.chunks, [&]<int kChunks>() {
    const int chunks = kChunks > 0 ? kChunks : sums.chunks;
    const LanesAbove* now = list;
    uint32_t lanes = now < end ? now->lanes : 0;
    while (now < end) {
      const int lane = __builtin_ctz(lanes);
      const int64_t t = now->position;
      double weight = 1;
      if constexpr (kWeighted) {
        const T score = source.load(t, lane) + bias[lane];
        weight = score > least ? score : least;
        total[lane] += weight;
      }
      ++number[lane];
      const uint32_t* word = places.offsets + (t - places.first);
      char* table = reinterpret_cast<char*>(sums.rows + lane);
#pragma GCC unroll 8
      for (int j = 0; j < chunks; ++j, word += sums.chunk, table += sums.chunk_bytes)
        *reinterpret_cast<double*>(table + *word) += weight;
      lanes &= lanes - 1;
      const uint32_t following = now[1].lanes;  // there is one more in the list than is counted
      now += lanes == 0;
      lanes = lanes == 0 ? following : lanes;
    }
  });
}

template <typename T>
void scatter_above(const Tables<T>& tables, const Words& words, const T* bias, const LanesAbove* list,
                   int64_t count, T least, const Tables<double>& sums, const Words& places, int64_t* number,
                   double* total) {
  if (total == nullptr)
    scatter_above_of<T, false>(tables, words, bias, list, count, least, sums, places, number, total);
  else
    scatter_above_of<T, true>(tables, words, bias, list, count, least, sums, places, number, total);
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
