// Chooses the instruction set once: the best the processor has, or the one MOTIFKIT_CPU names.
#include <cstdlib>
#include <cstring>

#include "cpu/kernels.h"

namespace motifkit::cpu {

#define MK_DECLARE(ISA)                        \
  namespace ISA {                              \
  extern const Kernels<float> float_kernels;   \
  extern const Kernels<double> double_kernels; \
  extern const CountKernels counting_kernels;  \
  }
MK_DECLARE(generic)
#ifdef MK_X86
MK_DECLARE(avx2)
MK_DECLARE(avx512)
namespace vpopcntdq {
void pair_counts(const uint64_t* const planes[4], int64_t words, int64_t lags, int64_t* counts);
}
#endif
#undef MK_DECLARE

namespace {

struct InstructionSet {
  const char* name;
  const Kernels<float>* single;
  const Kernels<double>* full;
  CountKernels counting;
};

struct Choice {
  InstructionSet sets[3];
  int count = 0;
  const InstructionSet* current;
  char names[32] = "";

  Choice() {
    add({"generic", &generic::float_kernels, &generic::double_kernels, generic::counting_kernels});
#ifdef MK_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("popcnt"))
      add({"avx2", &avx2::float_kernels, &avx2::double_kernels, avx2::counting_kernels});
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
      CountKernels counting = avx512::counting_kernels;
      if (__builtin_cpu_supports("avx512vpopcntdq")) counting.pair_counts = vpopcntdq::pair_counts;
      add({"avx512", &avx512::float_kernels, &avx512::double_kernels, counting});
    }
#endif
    current = &sets[count - 1];
    if (const char* wanted = std::getenv("MOTIFKIT_CPU")) select(wanted);
  }

  void add(const InstructionSet& set) {
    if (count > 0) std::strcat(names, " ");
    std::strcat(names, set.name);
    sets[count++] = set;
  }

  bool select(const char* name) {
    for (int i = 0; i < count; ++i) {
      if (std::strcmp(sets[i].name, name) != 0) continue;
      current = &sets[i];
      return true;
    }
    return false;
  }
};

Choice& choice() {
  static Choice instance;
  return instance;
}

}  // namespace

template <>
const Kernels<float>& kernels<float>() {
  return *choice().current->single;
}
template <>
const Kernels<double>& kernels<double>() {
  return *choice().current->full;
}
const CountKernels& count_kernels() {
  return choice().current->counting;
}
const char* instruction_set() {
  return choice().current->name;
}
const char* available_instruction_sets() {
  return choice().names;
}
bool use_instruction_set(const char* name) {
  return choice().select(name);
}

}  // namespace motifkit::cpu
