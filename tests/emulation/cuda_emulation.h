// CUDA C++ on a CPU, for tests: what csrc/cuda/launch.h lists, and no more. Arithmetic, indexing, barriers
// and exchanges between lanes are those of the CUDA programming guide; time, weak memory ordering and the
// matrix units are not. docs/cuda-emulation.md says what that proves.
#pragma once

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "block.h"
#include "intrinsics.h"

#define EMULATION_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

namespace emulation {

// Any arithmetic type of at most 8 bytes as a word, and back.
template <typename T>
uint64_t pack(T value) {
  static_assert(std::is_arithmetic_v<T> && sizeof(T) <= 8);
  uint64_t word = 0;
  std::memcpy(&word, &value, sizeof(T));
  return word;
}
template <typename T>
T unpack(uint64_t word) {
  T value;
  std::memcpy(&value, &word, sizeof(T));
  return value;
}

// A shuffle reads lane `source`, or its own where the source lies outside [first, last] of its segment.
template <typename T>
T shuffle(Site site, unsigned mask, T value, int source, int first, int last) {
  const int self = static_cast<int>(Block::get().lane());
  const int from = source < first || source > last ? self : source;
  return unpack<T>(
      Block::get().exchange(site, mask, pack(value), from,
                            [](const auto& values, uint32_t, int, uint64_t lane) { return values[lane]; }));
}

template <typename T, typename Operation>
T reduce(Site site, unsigned mask, T value, Operation operation) {
  return unpack<T>(Block::get().exchange(
      site, mask, pack(value), 0, [&](const auto& values, uint32_t lanes, int, uint64_t) {
        T result = unpack<T>(values[std::countr_zero(lanes)]);
        for (lanes &= lanes - 1; lanes; lanes &= lanes - 1) {
          result = operation(result, unpack<T>(values[std::countr_zero(lanes)]));
        }
        return pack(result);
      }));
}

// Atomics need no instruction: threads are interrupted where they wait, nowhere else.
template <typename T, typename Operation>
T atomic(T* address, Operation operation) {
  const T old = *address;
  *address = static_cast<T>(operation(old));
  return old;
}

}  // namespace emulation

// Barriers

inline void __syncthreads(EMULATION_SITE) {
  emulation::Block::get().barrier({"__syncthreads", file, line}, 0);
}
inline int __syncthreads_count(int predicate, EMULATION_SITE) {
  return static_cast<int>(
      emulation::Block::get().barrier({"__syncthreads_count", file, line}, predicate != 0));
}
inline int __syncthreads_or(int predicate, EMULATION_SITE) {
  return emulation::Block::get().barrier({"__syncthreads_or", file, line}, predicate != 0) != 0;
}
inline int __syncthreads_and(int predicate, EMULATION_SITE) {
  return emulation::Block::get().barrier({"__syncthreads_and", file, line}, predicate == 0) == 0;
}
inline void __syncwarp(unsigned mask = ~0u, EMULATION_SITE) {
  emulation::Block::get().exchange({"__syncwarp", file, line}, mask, 0, 0,
                                   [](const auto&, uint32_t, int, uint64_t) { return uint64_t{0}; });
}
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}

// Between the lanes of a warp

template <typename T>
T __shfl_sync(unsigned mask, T value, int lane, int width = warpSize, EMULATION_SITE) {
  const int first = static_cast<int>(emulation::Block::get().lane()) & ~(width - 1);
  return emulation::shuffle({"__shfl_sync", file, line}, mask, value, first + (lane & (width - 1)), 0, 31);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize, EMULATION_SITE) {
  const int self = static_cast<int>(emulation::Block::get().lane());
  const int source = self - static_cast<int>(delta);
  return emulation::shuffle({"__shfl_up_sync", file, line}, mask, value, source, self & ~(width - 1), 31);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, EMULATION_SITE) {
  const int self = static_cast<int>(emulation::Block::get().lane());
  const int source = self + static_cast<int>(delta);
  return emulation::shuffle({"__shfl_down_sync", file, line}, mask, value, source, 0, self | (width - 1));
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = warpSize, EMULATION_SITE) {
  const int self = static_cast<int>(emulation::Block::get().lane());
  return emulation::shuffle({"__shfl_xor_sync", file, line}, mask, value, self ^ lanes, 0,
                            self | (width - 1));
}

inline unsigned __ballot_sync(unsigned mask, int predicate, EMULATION_SITE) {
  const auto votes = [](const auto& values, uint32_t lanes, int, uint64_t) {
    uint64_t set = 0;
    for (; lanes; lanes &= lanes - 1) set |= values[std::countr_zero(lanes)] << std::countr_zero(lanes);
    return set;
  };
  const uint64_t vote = predicate != 0;
  return static_cast<unsigned>(
      emulation::Block::get().exchange({"__ballot_sync", file, line}, mask, vote, 0, votes));
}
inline int __any_sync(unsigned mask, int predicate, EMULATION_SITE) {
  return __ballot_sync(mask, predicate, file, line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, EMULATION_SITE) {
  return __ballot_sync(mask, predicate, file, line) == mask;
}
// Lanes that happen to run together: no more than this one is ever promised.
inline unsigned __activemask() {
  return 1u << emulation::Block::get().lane();
}

template <typename T>
unsigned __match_any_sync(unsigned mask, T value, EMULATION_SITE) {
  const auto equals = [](const auto& values, uint32_t lanes, int lane, uint64_t) {
    uint64_t set = 0;
    for (; lanes; lanes &= lanes - 1) {
      const int other = std::countr_zero(lanes);
      if (values[other] == values[lane]) set |= uint64_t{1} << other;
    }
    return set;
  };
  return static_cast<unsigned>(emulation::Block::get().exchange({"__match_any_sync", file, line}, mask,
                                                                emulation::pack(value), 0, equals));
}

#define EMULATION_REDUCE(name, T, expression)                                      \
  inline T __reduce_##name##_sync(unsigned mask, T value, EMULATION_SITE) {        \
    return emulation::reduce({"__reduce_" #name "_sync", file, line}, mask, value, \
                             [](T a, T b) -> T { return expression; });            \
  }
EMULATION_REDUCE(add, unsigned, a + b)
EMULATION_REDUCE(add, int, static_cast<int>(static_cast<unsigned>(a) + static_cast<unsigned>(b)))
EMULATION_REDUCE(min, unsigned, a < b ? a : b)
EMULATION_REDUCE(min, int, a < b ? a : b)
EMULATION_REDUCE(max, unsigned, a > b ? a : b)
EMULATION_REDUCE(max, int, a > b ? a : b)
EMULATION_REDUCE(and, unsigned, a& b)
EMULATION_REDUCE(or, unsigned, a | b)
EMULATION_REDUCE(xor, unsigned, a ^ b)
#undef EMULATION_REDUCE

// Atomics

#define EMULATION_ATOMIC(name, expression)                                                 \
  template <typename T>                                                                    \
  T atomic##name(T* address, emulation::Given<T> value) {                                  \
    return emulation::atomic(address, [&]([[maybe_unused]] T old) { return expression; }); \
  }                                                                                        \
  template <typename T>                                                                    \
  T atomic##name##_block(T* address, emulation::Given<T> value) {                          \
    return atomic##name(address, value);                                                   \
  }                                                                                        \
  template <typename T>                                                                    \
  T atomic##name##_system(T* address, emulation::Given<T> value) {                         \
    return atomic##name(address, value);                                                   \
  }
EMULATION_ATOMIC(Add, old + value)
EMULATION_ATOMIC(Sub, old - value)
EMULATION_ATOMIC(Exch, value)
EMULATION_ATOMIC(Min, old < value ? old : value)
EMULATION_ATOMIC(Max, old > value ? old : value)
EMULATION_ATOMIC(And, old& value)
EMULATION_ATOMIC(Or, old | value)
EMULATION_ATOMIC(Xor, old ^ value)
EMULATION_ATOMIC(Inc, old >= value ? 0 : old + 1)
EMULATION_ATOMIC(Dec, old == 0 || old > value ? value : old - 1)
#undef EMULATION_ATOMIC
template <typename T>
T atomicCAS(T* address, emulation::Given<T> expected, emulation::Given<T> value) {
  return emulation::atomic(address, [&](T old) { return old == expected ? value : old; });
}

#undef EMULATION_SITE
