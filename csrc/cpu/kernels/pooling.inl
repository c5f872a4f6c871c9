// Max-pooling of whatever a source gives. Part of kernels.inl.

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
    auto here = S::set_index(begin);  // counted in a vector: from a scalar it would cross over at each step
    for (int64_t t = begin; t < end; ++t, here = S::next(here)) {
      typename S::V z[kVectors];
      source.load(t, z);
      take<Source::kMayHoldNaN>(z, here);
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

// Sinks: where the windows of a tile go, in order. One takes values and positions as they are.
template <typename T, int kVectors>
struct RawSink {
  using S = Simd<T>;
  T* out;
  int32_t* kept;

  template <bool kKeep>
  MK_INLINE void take(const Best<T, kVectors, kKeep>& best, int64_t) {
    best.store(out, kept);
    out += kVectors * S::kWidth;
    if constexpr (kKeep) kept += kVectors * S::kWidth;
  }
};

// The other applies the affine and ReLU, and keeps positions relative to their windows; all bits set where
// ReLU passes no gradient.
template <typename T, int kVectors, typename Stored>
struct AffineSink {
  using S = Simd<T>;
  typename S::V centre[kVectors], scale[kVectors], shift[kVectors], least;
  typename S::M always;
  T* out;
  Stored* kept;

  AffineSink(const LaneAffine<T>& affine, T* out, Stored* kept) : out(out), kept(kept) {
    for (int v = 0; v < kVectors; ++v) {
      centre[v] = S::load(affine.centre + v * S::kWidth);
      scale[v] = S::load(affine.scale + v * S::kWidth);
      shift[v] = S::load(affine.shift + v * S::kWidth);
    }
    least = S::set(affine.relu ? T(0) : -__builtin_huge_val());
    always = S::gt(S::set(affine.relu ? T(0) : T(1)), S::set(0));
  }

  template <bool kKeep>
  MK_INLINE void take(const Best<T, kVectors, kKeep>& best, int64_t start) {
    for (int v = 0; v < kVectors; ++v) {
      const auto y = S::add(S::mul(best.value[v] - centre[v], scale[v]), shift[v]);
      S::store(out + v * S::kWidth, S::select(S::gt(least, y), least, y));  // NaN stays NaN
      if constexpr (kKeep) {
        const auto passes = S::either(S::gt(y, least), always);
        const auto place = S::minus(best.index[v], S::set_index(start));
        S::store_index(kept + v * S::kWidth, S::select_index(passes, place, S::set_index(-1)));
      }
    }
    out += kVectors * S::kWidth;
    if constexpr (kKeep) kept += kVectors * S::kWidth;
  }
};

template <typename T, int kVectors, bool kKeep, typename Source, typename Sink>
MK_INLINE void pool_apart(const Source& source, const PoolTile& tile, Sink sink) {
  for (int64_t j = tile.begin; j < tile.end; ++j) {
    const int64_t start = j * tile.shape.stride - tile.shape.padding;
    const int64_t begin = upper(start, 0), end = lower(start + tile.shape.size, tile.length);
    Best<T, kVectors, kKeep> best;
    best.start(source, begin);
    best.extend(source, begin + 1, end);
    sink.take(best, start);
  }
}

// Overlapping windows in time that does not grow with the overlap (van Herk; Gil and Werman). The row is cut
// into segments of one stride. A window is q = size / stride whole segments and the head (size % stride
// positions) of the next. In blocks of q segments, q whole segments are a suffix of one block and a prefix of
// the next.
template <typename T, int kVectors, bool kKeep, typename Source, typename Sink>
void pool_overlapping(const Source& source, const PoolTile& tile, T* scratch, Sink sink) {
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
      sink.take(window, (base + o) * stride - padding);
    }
    Value* swap = current;
    current = next;
    next = swap;
  }
}

template <typename T, int kVectors, bool kKeep, typename Source, typename Sink>
void pool(const Source& source, const PoolTile& tile, T* scratch, Sink sink) {
  if (tile.shape.size <= tile.shape.stride)
    pool_apart<T, kVectors, kKeep>(source, tile, sink);
  else
    pool_overlapping<T, kVectors, kKeep>(source, tile, scratch, sink);
}

// Calls body.template operator()<kVectors>() for a block of 32 or 16 lanes.
template <typename T, typename Body>
auto with_vectors(int lanes, Body body) {
  if (lanes == kBlockLanes) return body.template operator()<kBlockLanes / Simd<T>::kWidth>();
  return body.template operator()<kTailLanes / Simd<T>::kWidth>();
}

template <typename T>
void pool_tables(const Tables<T>& t, const Words& w, const PoolTile& tile, const LaneAffine<T>& affine,
                 T* scratch, T* out, const Kept& kept) {
  with_vectors<T>(t.lanes, [&]<int kVectors>() {
    with_chunks(t.chunks, [&]<int kChunks>() {
      const TableSource<T, kVectors, kChunks> source(t, w);
      const auto run = [&]<bool kKeep, typename Stored>(Stored* rows) {
        pool<T, kVectors, kKeep>(source, tile, scratch, AffineSink<T, kVectors, Stored>(affine, out, rows));
      };
      if (kept.rows == nullptr)
        run.template operator()<false>(static_cast<uint8_t*>(nullptr));
      else if (kept.wide)
        run.template operator()<true>(static_cast<int32_t*>(kept.rows));
      else
        run.template operator()<true>(static_cast<uint8_t*>(kept.rows));
    });
  });
}

template <typename T>
void pool_rows(const T* rows, int64_t first, int lanes, const PoolTile& tile, T* scratch, T* out,
               int32_t* kept) {
  with_vectors<T>(lanes, [&]<int kVectors>() {
    const RowSource<T, kVectors> source{rows, first};
    const RawSink<T, kVectors> sink{out, kept};
    if (kept == nullptr)
      pool<T, kVectors, false>(source, tile, scratch, sink);
    else
      pool<T, kVectors, true>(source, tile, scratch, sink);
  });
}
