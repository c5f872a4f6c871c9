// Bits, arithmetic, conversions and loads: what one thread does by itself.
#pragma once

#include <math.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

namespace emulation {

template <typename To, typename From>
To bits(From value) {
  static_assert(sizeof(To) == sizeof(From));
  return std::bit_cast<To>(value);
}

template <typename T>
struct Same {
  using type = T;
};
template <typename T>
using Given = typename Same<T>::type;  // an argument that does not take part in deduction

template <int bytes, typename T>
unsigned each_byte(unsigned a, unsigned b, T operation) {
  unsigned result = 0;
  for (int shift = 0; shift < 8 * bytes; shift += 8) {
    result |= (static_cast<unsigned>(operation(a >> shift & 255, b >> shift & 255)) & 255u) << shift;
  }
  return result;
}

}  // namespace emulation

// Bits

inline int __popc(unsigned x) {
  return std::popcount(x);
}
inline int __popcll(unsigned long long x) {
  return std::popcount(x);
}
inline int __ffs(int x) {
  return __builtin_ffs(x);
}
inline int __ffsll(long long x) {
  return __builtin_ffsll(x);
}
inline int __clz(int x) {
  return std::countl_zero(static_cast<unsigned>(x));
}
inline int __clzll(long long x) {
  return std::countl_zero(static_cast<unsigned long long>(x));
}
inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int i = 0; i < 32; ++i) reversed |= (x >> i & 1) << (31 - i);
  return reversed;
}
inline unsigned long long __brevll(unsigned long long x) {
  return static_cast<unsigned long long>(__brev(static_cast<unsigned>(x))) << 32 |
         __brev(static_cast<unsigned>(x >> 32));
}
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const uint64_t both = uint64_t{y} << 32 | x;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned which = selector >> (4 * i);
    unsigned byte = both >> (8 * (which & 7)) & 255;
    if (which & 8) byte = byte & 128 ? 255 : 0;
    result |= byte << (8 * i);
  }
  return result;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((uint64_t{high} << 32 | low) << (shift & 31) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((uint64_t{high} << 32 | low) >> (shift & 31));
}
inline unsigned __funnelshift_lc(unsigned low, unsigned high, unsigned shift) {
  return shift >= 32 ? low : __funnelshift_l(low, high, shift);
}
inline unsigned __funnelshift_rc(unsigned low, unsigned high, unsigned shift) {
  return shift >= 32 ? high : __funnelshift_r(low, high, shift);
}

#define EMULATION_BYTES(name, expression)                                                                \
  inline unsigned name(unsigned x, unsigned y) {                                                         \
    return emulation::each_byte<4>(x, y, [](unsigned a, unsigned b) -> unsigned { return expression; }); \
  }
EMULATION_BYTES(__vadd4, a + b)
EMULATION_BYTES(__vsub4, a - b)
EMULATION_BYTES(__vmaxu4, a > b ? a : b)
EMULATION_BYTES(__vminu4, a < b ? a : b)
EMULATION_BYTES(__vcmpeq4, a == b ? 255 : 0)
#undef EMULATION_BYTES
inline int __dp4a(int x, int y, int sum) {
  unsigned total = static_cast<unsigned>(sum);
  for (int shift = 0; shift < 32; shift += 8) {
    total += static_cast<unsigned>(static_cast<int8_t>(x >> shift) * static_cast<int8_t>(y >> shift));
  }
  return static_cast<int>(total);
}
inline unsigned __dp4a(unsigned x, unsigned y, unsigned sum) {
  for (int shift = 0; shift < 32; shift += 8) sum += (x >> shift & 255) * (y >> shift & 255);
  return sum;
}

// Arithmetic

inline float __fmaf_rn(float x, float y, float z) {
  return std::fma(x, y, z);
}
inline double __fma_rn(double x, double y, double z) {
  return std::fma(x, y, z);
}
inline float __fadd_rn(float x, float y) {
  return x + y;
}
inline float __fsub_rn(float x, float y) {
  return x - y;
}
inline float __fmul_rn(float x, float y) {
  return x * y;
}
inline float __fdiv_rn(float x, float y) {
  return x / y;
}
inline float __frcp_rn(float x) {
  return 1.0f / x;
}
inline float __fsqrt_rn(float x) {
  return std::sqrt(x);
}
inline double __dadd_rn(double x, double y) {
  return x + y;
}
inline double __dsub_rn(double x, double y) {
  return x - y;
}
inline double __dmul_rn(double x, double y) {
  return x * y;
}
inline double __ddiv_rn(double x, double y) {
  return x / y;
}
inline double __drcp_rn(double x) {
  return 1.0 / x;
}
inline double __dsqrt_rn(double x) {
  return std::sqrt(x);
}
inline float __fdividef(float x, float y) {
  return x / y;
}
inline float rsqrtf(float x) {
  return 1.0f / std::sqrt(x);
}
inline double rsqrt(double x) {
  return 1.0 / std::sqrt(x);
}
inline float __saturatef(float x) {
  return x > 0 ? (x < 1 ? x : 1) : 0;
}
#define __expf(x) expf(x)  // names that the C library keeps for itself
#define __logf(x) logf(x)

inline unsigned __umulhi(unsigned x, unsigned y) {
  return uint64_t{x} * y >> 32;
}
inline int __mulhi(int x, int y) {
  return static_cast<int>(int64_t{x} * y >> 32);
}
inline unsigned long long __umul64hi(unsigned long long x, unsigned long long y) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<unsigned long long>(static_cast<Wide>(x) * y >> 64);
}
inline long long __mul64hi(long long x, long long y) {
  __extension__ using Wide = __int128;
  return static_cast<long long>(static_cast<Wide>(x) * y >> 64);
}
inline int __mul24(int x, int y) {
  return (x << 8 >> 8) * (y << 8 >> 8);
}
inline unsigned __umul24(unsigned x, unsigned y) {
  return (x & 0xFFFFFF) * (y & 0xFFFFFF);
}

// As on the device, a NaN loses against a number.
template <typename A, typename B, typename C = std::common_type_t<A, B>>
constexpr std::enable_if_t<std::is_arithmetic_v<A> && std::is_arithmetic_v<B>, C> max(A a, B b) {
  if constexpr (std::is_floating_point_v<C>) {
    return std::fmax(static_cast<C>(a), static_cast<C>(b));
  } else {
    return static_cast<C>(a) > static_cast<C>(b) ? static_cast<C>(a) : static_cast<C>(b);
  }
}
template <typename A, typename B, typename C = std::common_type_t<A, B>>
constexpr std::enable_if_t<std::is_arithmetic_v<A> && std::is_arithmetic_v<B>, C> min(A a, B b) {
  if constexpr (std::is_floating_point_v<C>) {
    return std::fmin(static_cast<C>(a), static_cast<C>(b));
  } else {
    return static_cast<C>(a) < static_cast<C>(b) ? static_cast<C>(a) : static_cast<C>(b);
  }
}

// Conversions

inline int __float_as_int(float x) {
  return emulation::bits<int>(x);
}
inline unsigned __float_as_uint(float x) {
  return emulation::bits<unsigned>(x);
}
inline float __int_as_float(int x) {
  return emulation::bits<float>(x);
}
inline float __uint_as_float(unsigned x) {
  return emulation::bits<float>(x);
}
inline long long __double_as_longlong(double x) {
  return emulation::bits<long long>(x);
}
inline double __longlong_as_double(long long x) {
  return emulation::bits<double>(x);
}
inline int __float2int_rn(float x) {
  return static_cast<int>(std::nearbyint(x));
}
inline int __float2int_rz(float x) {
  return static_cast<int>(x);
}
inline int __float2int_rd(float x) {
  return static_cast<int>(std::floor(x));
}
inline int __float2int_ru(float x) {
  return static_cast<int>(std::ceil(x));
}
inline float __int2float_rn(int x) {
  return static_cast<float>(x);
}

// Loads and stores with a hint to the caches

template <typename T>
T __ldg(const T* address) {
  return *address;
}
template <typename T>
T __ldcs(const T* address) {
  return *address;
}
template <typename T>
T __ldcg(const T* address) {
  return *address;
}
template <typename T>
void __stcs(T* address, emulation::Given<T> value) {
  *address = value;
}
template <typename T>
void __stcg(T* address, emulation::Given<T> value) {
  *address = value;
}
template <typename T>
void __stwt(T* address, emulation::Given<T> value) {
  *address = value;
}
