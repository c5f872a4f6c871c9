// How every kernel is started, and how a kernel names its dynamic shared memory. One source, two builds:
// nvcc, or, with -DMK_EMULATE, a C++ compiler and tests/emulation/cuda_emulation.h, which runs each CUDA
// thread as a fiber on the CPU. A .cu file includes this header instead of <cuda_runtime.h>.
//
//   MK_LAUNCH(kernel, grid, block, shared_bytes, stream, arguments...)
//       kernel: a __global__ function, or a template-id in parentheses: MK_LAUNCH((pool<float, 4>), ...)
//       grid, block: dim3, or what converts to one; shared_bytes: dynamic shared memory, up to
//       shared_memory_limit(); stream: cudaStream_t. Throws std::runtime_error where it is refused.
//   MK_DYNAMIC_SHARED(type, name);
//       in a kernel: `type* name`, the block's dynamic shared memory, aligned to 16 bytes. Never cleared.
//   MK_CHECK(call)
//       any other call of the runtime; throws std::runtime_error with the call and CUDA's words.
//
// What is emulated, and nothing else:
//   qualifiers    __global__ __device__ __host__ __constant__ __launch_bounds__ __forceinline__
//                 __restrict__ __align__ __grid_constant__, and __shared__ in functions,
//                 without initialiser
//   indices       threadIdx blockIdx blockDim gridDim (three dimensions), warpSize
//   barriers      __syncthreads, _count, _and, _or; __syncwarp; __threadfence, _block, _system
//   warp          __shfl_sync, _up, _down, _xor (4 and 8 byte arithmetic types, any width);
//                 __ballot_sync __any_sync __all_sync __activemask __match_any_sync;
//                 __reduce_add_sync, min, max, and, or, xor
//   atomics       atomicAdd Sub Exch Min Max And Or Xor CAS Inc Dec, and their _block and _system forms
//                 (32 and 64 bit integers; float and double for Add and Exch)
//   bits          __popc __popcll __ffs __ffsll __clz __clzll __brev __brevll __byte_perm
//                 __funnelshift_l, _r, _lc, _rc
//   arithmetic    __fmaf_rn __fadd_rn __fsub_rn __fmul_rn __fdiv_rn __frcp_rn __fsqrt_rn, the double forms;
//                 __umulhi __mulhi __umul64hi __mul64hi __mul24 __umul24 __expf __logf __fdividef rsqrtf
//                 rsqrt __saturatef __vadd4 __vsub4 __vmaxu4 __vminu4 __vcmpeq4 __dp4a; min and max of
//                 mixed types; <cmath>
//   conversions   __float_as_int, _uint; __int_as_float, __uint_as_float; __double_as_longlong and back;
//                 __float2int_rn, _rz, _rd, _ru; __int2float_rn
//   memory        __ldg __ldcs __ldcg __stcs __stcg __stwt; cudaMemcpyAsync cudaMemsetAsync cudaMalloc
//                 cudaFree, with and without Async
//   vectors       1 to 4 of char, short, int, long long, signed and unsigned, float, double; make_...
//   runtime       cudaGetDevice SetDevice GetDeviceCount DeviceGetAttribute FuncSetAttribute (dynamic
//                 shared memory) OccupancyMaxActiveBlocksPerMultiprocessor, streams and events (all work
//                 is done at once), cudaGetLastError PeekAtLastError GetErrorString
// An instruction that is missing here (a matrix instruction, an asynchronous copy) belongs in one __device__
// function with an `#ifdef MK_EMULATE` twin.
#pragma once

#ifdef MK_EMULATE
#include "cuda_emulation.h"
#else
#include <cuda_runtime.h>
#endif

#include <cstddef>
#include <stdexcept>
#include <string>

namespace motifkit::cuda {

inline void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // an error that is not sticky is this call's alone
  throw std::runtime_error(std::string("CUDA: ") + what + ": " + cudaGetErrorString(status));
}

// Bytes of dynamic shared memory that a block may ask for on the current device.
inline int shared_memory_limit() {
  int device = 0;
  int bytes = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
        "cudaDeviceGetAttribute");
  return bytes;
}

// The parameter types come from the kernel, so that arguments convert as in an ordinary call.
template <typename T>
struct Exactly {
  using type = T;
};

template <typename... Parameters>
void launch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
            cudaStream_t stream, typename Exactly<Parameters>::type... arguments) {
  constexpr size_t kWithoutAsking = 40 * 1024;  // more than 48 KB has to be asked for, fixed arrays included
  const void* entry = reinterpret_cast<const void*>(kernel);
  if (shared_bytes > kWithoutAsking) {
    const auto attribute = cudaFuncAttributeMaxDynamicSharedMemorySize;
    check(cudaFuncSetAttribute(entry, attribute, static_cast<int>(shared_bytes)), name);
  }
#ifdef MK_EMULATE
  check(::emulation::run(name, entry, grid, block, shared_bytes, stream, [&] { kernel(arguments...); }),
        name);
#else
  void* addresses[] = {static_cast<void*>(&arguments)..., nullptr};
  check(cudaLaunchKernel(entry, grid, block, addresses, shared_bytes, stream), name);
#endif
}

}  // namespace motifkit::cuda

#define MK_CHECK(call) ::motifkit::cuda::check((call), #call)
#define MK_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  ::motifkit::cuda::launch(#kernel, kernel, grid, block, shared_bytes, stream, ##__VA_ARGS__)

#ifdef MK_EMULATE
#define MK_DYNAMIC_SHARED(type, name) type* name = static_cast<type*>(::emulation::dynamic_shared())
#else
#define MK_DYNAMIC_SHARED(type, name)                             \
  extern __shared__ __align__(16) unsigned char dynamic_shared[]; \
  type* name = reinterpret_cast<type*>(dynamic_shared)
#endif
