#define MK_ISA avx512
#define MK_VECTOR_BYTES 64
#include "cpu/kernels.inl"
