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
