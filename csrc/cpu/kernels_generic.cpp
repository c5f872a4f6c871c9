#define MK_ISA generic
#define MK_VECTOR_BYTES 16
#include "cpu/kernels.inl"
