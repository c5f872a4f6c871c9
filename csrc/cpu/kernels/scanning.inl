// Convolution, best window, hits. Part of kernels.inl.

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

#if MK_VECTOR_BYTES == 64
// Windows of one tile, 16 to a vector: a permutation looks up a pair of letters of each, so that rows of the
// output come out as they are wanted.
struct PairScan {
  const float* tables;    // (filters, pairs, kPairRows)
  int64_t pairs;          // even
  const int32_t* copies;  // of the words, each beginning one word later, so that all loads are aligned
  int64_t spacing;        // of the copies

  // kVectors vectors of windows, the first from word `at` on.
  template <int kVectors>
  MK_INLINE void run(int64_t filter, float bias, int64_t at, __m512 (&sum)[kVectors]) const {
    const float* table = tables + filter * pairs * kPairRows;
    for (auto& s : sum) s = _mm512_set1_ps(bias);
    auto word = static_cast<uint64_t>(at);
    for (int64_t pair = 0; pair < pairs; pair += 2, word += 4, table += 2 * kPairRows) {
      const __m512 low0 = _mm512_loadu_ps(table), high0 = _mm512_loadu_ps(table + 16);
      const __m512 low1 = _mm512_loadu_ps(table + 32), high1 = _mm512_loadu_ps(table + 48);
      const int32_t* first = copies + word % 16 * spacing + word / 16 * 16;
      const int32_t* second = copies + (word + 2) % 16 * spacing + (word + 2) / 16 * 16;
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v)
        sum[v] += _mm512_permutex2var_ps(low0, _mm512_load_si512(first + v * 16), high0) +
                  _mm512_permutex2var_ps(low1, _mm512_load_si512(second + v * 16), high1);
    }
  }
};

void convolve_pairs(const float* tables, int64_t pairs, int64_t live, const uint32_t* words, int32_t* copies,
                    int64_t begin, int64_t end, int64_t length, const float* bias, float* out) {
  const int64_t needed = end - begin + 15 + 2 * pairs, spacing = (needed + 15) / 16 * 16;
  // Letters from a row's beginning to its first whole cache line.
  const auto phase = [&](int64_t filter) {
    return static_cast<int64_t>(-reinterpret_cast<uintptr_t>(out + filter * length) % 64 / sizeof(float));
  };
  const bool odd = length % 2 != 0 || phase(0) % 2 != 0;  // some row begins on an odd copy
  for (int64_t s = 0; s < 16; s += odd ? 1 : 2)
    for (int64_t i = 0; s + i < needed; i += 16)
      _mm512_store_si512(copies + s * spacing + i, _mm512_loadu_si512(words + s + i));
  const PairScan scan{tables, pairs, copies, spacing};
  for (int64_t f = 0; f < live; ++f) {
    float* row = out + f * length;
    const auto part = [&](int64_t t, int64_t count) {
      __m512 z[1];
      float values[16];
      scan.run(f, bias[f], t - begin, z);
      _mm512_storeu_ps(values, z[0]);
      for (int64_t i = 0; i < count; ++i) row[t + i] = values[i];
    };
    int64_t t = begin + phase(f);
    const auto whole = [&]<int kVectors>() {
      for (; t + (kVectors - 1) * 16 < end && t + kVectors * 16 <= length; t += kVectors * 16) {
        __m512 z[kVectors];
        scan.run(f, bias[f], t - begin, z);
        for (int v = 0; v < kVectors; ++v) _mm512_stream_ps(row + t + v * 16, z[v]);
      }
    };
    if (begin == 0) part(0, lower(phase(f), length));
    whole.template operator()<8>();
    whole.template operator()<4>();
    whole.template operator()<2>();
    whole.template operator()<1>();
    if (t < end && t < length) part(t, length - t);
  }
}
#endif

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

// total[lane] += sum's lanes.
template <typename T, int kVectors>
MK_INLINE void add_lanes(const typename Simd<T>::V (&sum)[kVectors], double* total) {
  using S = Simd<T>;
  T values[kVectors * S::kWidth];
  for (int v = 0; v < kVectors; ++v) S::store(values + v * S::kWidth, sum[v]);
  for (int i = 0; i < kVectors * S::kWidth; ++i) total[i] += values[i];
}

// The look-ups alone: what no scan can go below.
template <typename T>
void look_up(const Tables<T>& t, const Words& w, int64_t begin, int64_t end, T* total) {
  using S = Simd<T>;
  with_vectors<T>(t.lanes, [&]<int kVectors>() {
    with_chunks(t.chunks, [&]<int kChunks>() {
      const TableSource<T, kVectors, kChunks> source(t, w);
      typename S::V sum[kVectors], z[kVectors];
      for (int v = 0; v < kVectors; ++v) sum[v] = S::load(total + v * S::kWidth);
      for (int64_t p = begin; p < end; ++p) {
        source.load(p, z);
        for (int v = 0; v < kVectors; ++v) sum[v] = S::max(z[v], sum[v]);
      }
      for (int v = 0; v < kVectors; ++v) S::store(total + v * S::kWidth, sum[v]);
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

template <typename T>
int64_t above(const Tables<T>& t, const Words& w, int64_t begin, int64_t end, const T* bias,
              const T* threshold, LanesAbove* list) {
  using S = Simd<T>;
  uint32_t found[kMostListed];
  with_vectors<T>(t.lanes, [&]<int kVectors>() {
    with_chunks(t.chunks, [&]<int kChunks>() {
      const TableSource<T, kVectors, kChunks> source(t, w);
      typename S::V z[kVectors], bar[kVectors], b[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        bar[v] = S::load(threshold + v * S::kWidth);
        b[v] = S::load(bias + v * S::kWidth);
      }
      for (int64_t p = begin; p < end; ++p) {
        source.load(p, z);
        uint32_t lanes = 0;
        for (int v = 0; v < kVectors; ++v)
          lanes |= S::bits(S::gt(S::add(z[v], b[v]), bar[v])) << (v * S::kWidth);
        found[p - begin] = lanes;
      }
    });
  });
  // Every window is written and the next one over it, unless it is kept: no branch to guess wrong. Not in the
  // loop above, where stores of unknown place would hold up its look-ups.
  LanesAbove* to = list;
  for (int64_t p = begin; p < end; ++p) {
    *to = {found[p - begin], static_cast<int32_t>(p)};
    to += found[p - begin] != 0;
  }
  return to - list;
}

template <typename T>
void summarise(const Tables<T>& t, const Words& w, int64_t begin, int64_t end, const T* bias, T least,
               T* largest, double* total) {
  using S = Simd<T>;
  with_vectors<T>(t.lanes, [&]<int kVectors>() {
    with_chunks(t.chunks, [&]<int kChunks>() {
      const TableSource<T, kVectors, kChunks> source(t, w);
      const auto floor = S::set(least);
      typename S::V z[kVectors], b[kVectors], top[kVectors], sum[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        b[v] = S::load(bias + v * S::kWidth);
        top[v] = S::load(largest + v * S::kWidth);
        sum[v] = S::set(0);
      }
      for (int64_t p = begin; p < end; ++p) {
        source.load(p, z);
        for (int v = 0; v < kVectors; ++v) {
          top[v] = S::max(z[v], top[v]);
          sum[v] = S::add(sum[v], S::max(floor, S::add(z[v], b[v])));
        }
      }
      for (int v = 0; v < kVectors; ++v) S::store(largest + v * S::kWidth, top[v]);
      add_lanes<T, kVectors>(sum, total);
    });
  });
}
