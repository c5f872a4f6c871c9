// The inner loops, compiled once per instruction set: the including file defines MK_ISA (a namespace) and
// MK_VECTOR_BYTES. No standard library code may appear here: an inline function instantiated under -mavx512f
// could be the copy the linker keeps for everyone.

#include "cpu/kernels.h"

#ifdef __SSE2__
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

// clang-format off: each builds on those before it
#include "cpu/kernels/words.inl"
#include "cpu/kernels/sources.inl"
#include "cpu/kernels/pooling.inl"
#include "cpu/kernels/layout.inl"
#include "cpu/kernels/scanning.inl"
#include "cpu/kernels/gradients.inl"
#include "cpu/kernels/counts.inl"
// clang-format on

// The convolution by pairs, where there is one.
template <typename T>
constexpr auto pairs() -> decltype(Kernels<T>::convolve_pairs) {
#if MK_VECTOR_BYTES == 64
  if constexpr (sizeof(T) == 4) return convolve_pairs;
#endif
  return nullptr;
}

}  // namespace

template <typename T>
constexpr Kernels<T> make_kernels() {
  return {words,
          tables<T>,
          pool_tables<T>,
          pool_rows<T>,
          convolve<T>,
          pairs<T>(),
          best<T>,
          look_up<T>,
          hits<T>,
          above<T>,
          scatter_above<T>,
          summarise<T>,
          to_columns,
          to_rows,
          stream<T>,
          sum_rows<T>,
          scatter_positions<T>,
          one_hot_bits,
          scatter_windows<T>,
          add_listed<T>,
          scatter_rows<T>,
          fold<T>};
}

extern const Kernels<float> float_kernels;
extern const Kernels<double> double_kernels;
extern const CountKernels counting_kernels;
constexpr Kernels<float> float_kernels = make_kernels<float>();
constexpr Kernels<double> double_kernels = make_kernels<double>();
constexpr CountKernels counting_kernels = {bit_planes, pair_counts, covariance, multiply};

}  // namespace motifkit::cpu::MK_ISA
