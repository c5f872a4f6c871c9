// One vector of T, at the width of the instruction set this file is compiled for. Included only by
// kernels.inl, inside the namespace of that instruction set, so that no inline function of one build can
// stand in for another's.
//
// GCC vector extensions serve every target; AVX-512 keeps comparison results in mask registers, so float has
// its own.

// Every loop depends on these vanishing into it: the compiler is not asked.
#define MK_INLINE __attribute__((always_inline)) inline

template <typename T>
struct IndexType;
template <>
struct IndexType<float> {
  using type = int32_t;
};
template <>
struct IndexType<double> {
  using type = int64_t;
};

template <typename T>
struct Simd {
  static constexpr int kWidth = MK_VECTOR_BYTES / static_cast<int>(sizeof(T));
  using Int = typename IndexType<T>::type;
  typedef T V __attribute__((vector_size(MK_VECTOR_BYTES)));
  typedef Int I __attribute__((vector_size(MK_VECTOR_BYTES)));
  using M = I;
  typedef int32_t Narrow __attribute__((vector_size(4 * kWidth)));
  typedef uint8_t Bytes __attribute__((vector_size(kWidth)));

  MK_INLINE static V load(const T* p) {
    V v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
  }
  MK_INLINE static void store(T* p, V v) { __builtin_memcpy(p, &v, sizeof v); }
  MK_INLINE static V set(T x) { return x - V{}; }
  MK_INLINE static I set_index(int64_t t) { return static_cast<Int>(t) - I{}; }
  MK_INLINE static I next(I t) { return t + 1; }
  MK_INLINE static I minus(I a, I b) { return a - b; }
  MK_INLINE static V add(V a, V b) { return a + b; }
  MK_INLINE static V mul(V a, V b) { return a * b; }
  MK_INLINE static V max(V a, V b) { return a > b ? a : b; }  // b where either is NaN
  MK_INLINE static M gt(V a, V b) { return a > b; }
  MK_INLINE static M equal(I a, I b) { return a == b; }
  MK_INLINE static M unordered(V a) { return a != a; }
  MK_INLINE static M either(M a, M b) { return a | b; }
  MK_INLINE static V select(M m, V a, V b) { return m ? a : b; }
  MK_INLINE static I select_index(M m, I a, I b) { return m ? a : b; }
  MK_INLINE static uint32_t bits(M m) {
#if MK_VECTOR_BYTES == 64
    return static_cast<uint32_t>(_mm512_movepi64_mask(reinterpret_cast<__m512i>(m)));  // float has its own
#elif MK_VECTOR_BYTES == 32
    if constexpr (sizeof(T) == 4)
      return static_cast<uint32_t>(_mm256_movemask_ps(reinterpret_cast<__m256>(m)));
    else
      return static_cast<uint32_t>(_mm256_movemask_pd(reinterpret_cast<__m256d>(m)));
#else
    uint32_t out = 0;
    for (int i = 0; i < kWidth; ++i) out |= static_cast<uint32_t>(m[i] & 1) << i;
    return out;
#endif
  }
  MK_INLINE static void store_index(int32_t* p, I v) {
    const Narrow n = __builtin_convertvector(v, Narrow);
    __builtin_memcpy(p, &n, sizeof n);
  }
  MK_INLINE static void store_index(uint8_t* p, I v) {
    const Bytes n = __builtin_convertvector(v, Bytes);
    __builtin_memcpy(p, &n, sizeof n);
  }
  MK_INLINE static I load_index(const int32_t* p) {
    Narrow n;
    __builtin_memcpy(&n, p, sizeof n);
    return __builtin_convertvector(n, I);
  }
  MK_INLINE static I load_index(const uint8_t* p) {
    I v;
    for (int i = 0; i < kWidth; ++i) v[i] = p[i];
    return v;
  }
  // a + b in the lanes whose bits, from bit `shift` of *bits on, are set.
  MK_INLINE static V add_where(V a, const uint8_t* bits, int shift, V b) {
#if MK_VECTOR_BYTES == 64
    return _mm512_mask_add_pd(a, static_cast<__mmask8>(*bits >> shift), a, b);  // float has its own
#else
    I bit;
    for (int i = 0; i < kWidth; ++i) bit[i] = 1 << i;
    const M set = (set_index(*bits >> shift) & bit) != 0;
    return a + (set ? b : V{});
#endif
  }
};

#if MK_VECTOR_BYTES == 64
template <>
struct Simd<float> {
  static constexpr int kWidth = 16;
  using V = __m512;
  using I = __m512i;
  using M = __mmask16;

  MK_INLINE static V load(const float* p) { return _mm512_loadu_ps(p); }
  MK_INLINE static void store(float* p, V v) { _mm512_storeu_ps(p, v); }
  MK_INLINE static V set(float x) { return _mm512_set1_ps(x); }
  MK_INLINE static I set_index(int64_t t) { return _mm512_set1_epi32(static_cast<int>(t)); }
  MK_INLINE static I next(I t) { return _mm512_add_epi32(t, _mm512_set1_epi32(1)); }
  MK_INLINE static I minus(I a, I b) { return _mm512_sub_epi32(a, b); }
  MK_INLINE static V add(V a, V b) { return _mm512_add_ps(a, b); }
  MK_INLINE static V mul(V a, V b) { return _mm512_mul_ps(a, b); }
  MK_INLINE static V max(V a, V b) { return _mm512_max_ps(a, b); }
  MK_INLINE static M gt(V a, V b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
  MK_INLINE static M equal(I a, I b) { return _mm512_cmpeq_epi32_mask(a, b); }
  MK_INLINE static M unordered(V a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
  MK_INLINE static M either(M a, M b) { return static_cast<M>(a | b); }
  MK_INLINE static V select(M m, V a, V b) { return _mm512_mask_blend_ps(m, b, a); }
  MK_INLINE static I select_index(M m, I a, I b) { return _mm512_mask_blend_epi32(m, b, a); }
  MK_INLINE static uint32_t bits(M m) { return m; }
  MK_INLINE static void store_index(int32_t* p, I v) { _mm512_storeu_si512(p, v); }
  MK_INLINE static void store_index(uint8_t* p, I v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(v));
  }
  MK_INLINE static I load_index(const int32_t* p) { return _mm512_loadu_si512(p); }
  MK_INLINE static I load_index(const uint8_t* p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  MK_INLINE static V add_where(V a, const uint8_t* bits, int, V b) {
    M set;
    __builtin_memcpy(&set, bits, sizeof set);
    return _mm512_mask_add_ps(a, set, a, b);
  }
};
#endif
