// Small kernels, right and wrong ones, for tests/test_emulation.py: `checks NAME` prints "right", "wrong" or
// the error.
#include <cstdio>
#include <cstring>
#include <exception>
#include <vector>

#include "cuda/launch.h"

using namespace motifkit::cuda;

namespace {

// Sums through shuffles, an exchange between warps, a barrier unless it is `forgotten`, and an atomic.
template <bool forgotten>
__global__ void total(const int* x, int* out, int n) {
  __shared__ int warps[32];
  int sum = 0;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sum += x[i];
  for (int o = 16; o; o >>= 1) sum += __shfl_down_sync(~0u, sum, o);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = sum;
  if (!forgotten) __syncthreads();
  if (threadIdx.x >= 32) return;
  sum = threadIdx.x < blockDim.x / 32 ? warps[threadIdx.x] : 0;
  sum = __reduce_add_sync(~0u, sum);
  if (threadIdx.x == 0) atomicAdd(out, sum);
}

template <bool forgotten>
bool reduction() {
  std::vector<int> x(10000);
  for (int i = 0; i < 10000; ++i) x[i] = i;
  int out = 0;
  MK_LAUNCH((total<forgotten>), 7, 256, 0, nullptr, x.data(), &out, 10000);
  return out == 49995000;  // 9999 * 10000 / 2
}

// What is read is there; but a fast warp overwrites it in the next round, before a slow one has read it.
__global__ void turn(int* out) {
  __shared__ int row[64];
  int sum = 0;
  for (int round = 0; round < 4; ++round) {
    row[threadIdx.x] = 100 * round + threadIdx.x;
    __syncthreads();
    sum += row[63 - threadIdx.x];
  }
  out[threadIdx.x] = sum;
}

bool overwriting() {
  std::vector<int> out(64);
  MK_LAUNCH(turn, 1, 64, 0, nullptr, out.data());
  for (int i = 0; i < 64; ++i) {
    if (out[i] != 600 + 4 * (63 - i)) return false;
  }
  return true;
}

__global__ void exchange_lanes(int* out) {
  const int t = threadIdx.x;
  int row = 0;
  const auto put = [&](int value) { out[row++ * 32 + t] = value; };
  put(__shfl_sync(~0u, t, 5));
  put(__shfl_sync(~0u, t, 9, 8));  // lane 1 of each segment of 8
  put(__shfl_up_sync(~0u, t, 3));
  put(__shfl_up_sync(~0u, t, 3, 8));
  put(__shfl_down_sync(~0u, t, 30));
  put(__shfl_down_sync(~0u, t, 3, 8));
  put(__shfl_xor_sync(~0u, t, 17));
  put(__shfl_xor_sync(~0u, t, 9, 8));  // an earlier segment is read, a later one is not
  put(static_cast<int>(__ballot_sync(~0u, t % 3 == 0)));
  put(static_cast<int>(__match_any_sync(~0u, t / 4)));
  put(__any_sync(~0u, t == 7) + 2 * __all_sync(~0u, t < 32) + 4 * __all_sync(~0u, t < 31));
  put(__reduce_max_sync(~0u, -t) + static_cast<int>(__reduce_xor_sync(~0u, 1u << t)));
  if (t < 16) {
    put(static_cast<int>(__ballot_sync(0x0000FFFF, t != 3)));
  } else {
    put(static_cast<int>(__reduce_add_sync(0xFFFF0000, 1)));
  }
  put(static_cast<int>(2 * __shfl_xor_sync(~0u, 0.5 * t, 1)));
}

bool lanes() {
  constexpr int kRows = 14;
  std::vector<int> out(kRows * 32);
  MK_LAUNCH(exchange_lanes, 1, 32, 0, nullptr, out.data());
  for (int t = 0; t < 32; ++t) {
    const int segment = t / 8 * 8;
    const int want[kRows] = {5,
                             segment + 1,
                             t < 3 ? t : t - 3,
                             t % 8 < 3 ? t : t - 3,
                             t < 2 ? t + 30 : t,
                             t % 8 < 5 ? t + 3 : t,
                             t ^ 17,
                             segment % 16 == 0 ? t : t ^ 9,
                             0x49249249,
                             static_cast<int>(0xFu << t / 4 * 4),
                             3,
                             -1,
                             t < 16 ? 0xFFF7 : 16,
                             t ^ 1};
    for (int i = 0; i < kRows; ++i) {
      if (out[i * 32 + t] == want[i]) continue;
      std::printf("row %d, lane %d: %d, not %d\n", i, t, out[i * 32 + t], want[i]);
      return false;
    }
  }
  return true;
}

__global__ void count(unsigned* out, float* halves, unsigned long long* wide) {
  MK_DYNAMIC_SHARED(unsigned, slot);
  const unsigned t = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  if (t == 0) slot[0] = slot[1] = 0;
  const int odd = __syncthreads_count(t % 2);
  const int any = __syncthreads_or(t == 11);
  const int all = __syncthreads_and(t != 11);
  atomicAdd(slot, t);
  atomicMax(slot + 1, t);
  __syncthreads();
  if (t > 0) return;
  out[blockIdx.x] = slot[0] + slot[1] + odd + 10000 * any + 100000 * all;
  atomicAdd(halves, 0.5f);
  atomicAdd(wide, 1ull << 40);
  atomicInc(out + 7, 2);
  while (atomicCAS(out + 8, out[8], out[8] * 2 + 1) == 0) continue;
  atomicExch(out + 9, 5u);
  atomicMin(reinterpret_cast<int*>(out + 10), -static_cast<int>(blockIdx.x));
  atomicOr(out + 11, 1u << blockIdx.x);
}

bool counting() {
  std::vector<unsigned> out(12);
  float halves = 0;
  unsigned long long wide = 0;
  MK_LAUNCH(count, dim3(7), dim3(4, 5, 3), 8, nullptr, out.data(), &halves, &wide);
  for (int i = 0; i < 7; ++i) {
    if (out[i] != 60 * 59 / 2 + 59 + 30 + 10000) return false;
  }
  // Inc wraps after 2: seven steps from 0 are 1. CAS: the first block goes round once more.
  return halves == 3.5f && wide == 7ull << 40 && out[7] == 1 && out[8] == 255 && out[9] == 5 &&
         out[10] == -6u && out[11] == 127;
}

// Worked out by hand from the definitions in the CUDA math reference.
bool arithmetic() {
  return __popc(0xF0F0u) == 8 && __popcll(~0ull) == 64 && __ffs(0) == 0 && __ffs(8) == 4 && __clz(1) == 31 &&
         __clz(0) == 32 && __clzll(1) == 63 && __brev(1) == 0x80000000u && __ffsll(1ll << 40) == 41 &&
         __brevll(1) == 1ull << 63 && __byte_perm(0x33221100, 0x77665544, 0x7520) == 0x77552200 &&
         __byte_perm(0x80, 0, 0x8888) == 0xFFFFFFFF && __funnelshift_l(0x80000000, 1, 1) == 3 &&
         __funnelshift_r(0x80000000, 1, 31) == 3 && __funnelshift_lc(5, 9, 40) == 5 &&
         __funnelshift_rc(5, 9, 32) == 9 && __vadd4(0x01FF01FF, 0x01010101) == 0x02000200 &&
         __vmaxu4(0x00FF1020, 0x11001121) == 0x11FF1121 && __vcmpeq4(0x01020304, 0x01000300) == 0xFF00FF00 &&
         __dp4a(static_cast<int>(0xFF020304), 0x01010101, 10) == 18 && __umulhi(1u << 31, 6) == 3 &&
         __mulhi(-1, 1) == -1 && __umul64hi(1ull << 63, 6) == 3 && __float_as_uint(1.0f) == 0x3F800000 &&
         __int_as_float(0x40000000) == 2.0f && __float2int_rn(2.5f) == 2 && __float2int_ru(2.1f) == 3 &&
         max(3, 4u) == 4 && max(1.0f, NAN) == 1.0f && min(2, 1.5) == 1.5 && alignof(float4) == 16 &&
         make_uint2(1, 2).y == 2 && __saturatef(-3) == 0 && __mul24(-2, 3) == -6;
}

__global__ void missing(int* out) {
  if (threadIdx.x < 40) __syncthreads();
  out[threadIdx.x] = 1;
}

bool missed_barrier() {
  int out[64];
  MK_LAUNCH(missing, 3, 64, 0, nullptr, out);
  return true;
}

__global__ void diverging() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

bool two_barriers() {
  MK_LAUNCH(diverging, 1, 64, 0, nullptr);
  return true;
}

__global__ void voting(unsigned* out, unsigned n) {
  if (threadIdx.x >= n) return;
  out[threadIdx.x] = __ballot_sync(0xFFFFFFFF, 1);
}

bool ended_lane() {
  unsigned out[64];
  MK_LAUNCH(voting, 1, 64, 0, nullptr, out, 60);
  return true;
}

__global__ void outside() {
  __syncwarp(0x0000FFFF);
}

bool lane_outside_mask() {
  MK_LAUNCH(outside, 1, 32, 0, nullptr);
  return true;
}

__global__ void write_dynamic(unsigned short* out, int n) {
  MK_DYNAMIC_SHARED(unsigned short, row);
  row[threadIdx.x] = 1;
  if (threadIdx.x == 0) row[n] = 2;
  __syncthreads();
  out[threadIdx.x] = row[threadIdx.x];
}

bool dynamic_overrun() {
  unsigned short out[64];
  MK_LAUNCH(write_dynamic, 1, 64, 128, nullptr, out, 64);
  return true;
}

__global__ void write_static(unsigned short* out, int n) {
  __shared__ unsigned short row[64];
  row[threadIdx.x] = 1;
  if (threadIdx.x == 0) row[n] = 2;
  __syncthreads();
  out[threadIdx.x] = row[threadIdx.x];
}

bool static_overrun() {
  unsigned short out[64];
  MK_LAUNCH(write_static, 1, 64, 0, nullptr, out, 64);
  return true;
}

__global__ void look(int* out) {
  MK_DYNAMIC_SHARED(int, dynamic);
  __shared__ int fixed[2];
  out[blockIdx.x] = dynamic[threadIdx.x] != fixed[1] ? -2 : dynamic[threadIdx.x];
  __syncthreads();
  dynamic[threadIdx.x] = fixed[0] = fixed[1] = 1234;
}

// Blocks find neither zeros throughout nor what the block before left.
bool garbage() {
  std::vector<int> out(50);
  MK_LAUNCH(look, 50, 32, 128, nullptr, out.data());
  int zeros = 0;
  int nans = 0;
  for (int v : out) {
    if (v == 1234 || v == -2) return false;
    zeros += v == 0;
    nans += v == -1;
  }
  return zeros < 25 && nans > 0;
}

__global__ void nothing() {}

bool limit() {
  std::printf("%d ", shared_memory_limit());
  MK_LAUNCH(nothing, 1, 1, std::atoi(std::getenv("CHECK_BYTES")), nullptr);
  return true;
}

bool refusals() {
  const dim3 shapes[][2] = {{0, 32}, {1, 1025}, {dim3(1, 65536), 32}, {1, 0}, {1, dim3(1, 1, 65)}};
  for (const auto& [grid, block] : shapes) {
    try {
      MK_LAUNCH(nothing, grid, block, 0, nullptr);
      return false;
    } catch (const std::runtime_error& error) {
      if (std::strcmp(error.what(), "CUDA: nothing: invalid configuration argument") != 0) return false;
    }
  }
  MK_LAUNCH(nothing, dim3(3, 2, 2), dim3(2, 2, 64), 0, nullptr);
  return true;
}

template <typename T, int n>
__global__ void fill(T* x, long count, T value) {
  count -= blockIdx.x;  // a thread's own copy
  for (long i = threadIdx.x; i < count; i += n) x[i] = value;
}

bool arguments() {
  std::vector<float> x(10, -1.0f);
  float* memory = nullptr;
  MK_CHECK(cudaMalloc(&memory, 40));
  MK_CHECK(cudaMemsetAsync(memory, 0, 40, nullptr));
  MK_LAUNCH((fill<float, 32>), 2, 32, 0, nullptr, memory, 9, 3);
  MK_CHECK(cudaMemcpyAsync(x.data(), memory, 40, cudaMemcpyDeviceToHost, nullptr));
  MK_CHECK(cudaFree(memory));
  MK_LAUNCH((fill<double, 1>), 1, 1, 0, nullptr, nullptr, 0, 0);
  return x[0] == 3 && x[8] == 3 && x[9] == 0;
}

// After an error, whose threads are left where they stood, the next launch is as good as any.
bool recovery() {
  for (int i = 0; i < 3; ++i) {
    try {
      missed_barrier();
      return false;
    } catch (const std::runtime_error&) {
    }
    if (!reduction<false>()) return false;
  }
  return true;
}

const struct {
  const char* name;
  bool (*check)();
} kChecks[] = {{"reduction", reduction<false>},
               {"forgotten", reduction<true>},
               {"overwriting", overwriting},
               {"lanes", lanes},
               {"counting", counting},
               {"arithmetic", arithmetic},
               {"missed_barrier", missed_barrier},
               {"two_barriers", two_barriers},
               {"ended_lane", ended_lane},
               {"lane_outside_mask", lane_outside_mask},
               {"dynamic_overrun", dynamic_overrun},
               {"static_overrun", static_overrun},
               {"garbage", garbage},
               {"limit", limit},
               {"refusals", refusals},
               {"arguments", arguments},
               {"recovery", recovery}};

}  // namespace

int main(int, char** words) {
  for (const auto& [name, check] : kChecks) {
    if (std::strcmp(name, words[1]) != 0) continue;
    try {
      std::puts(check() ? "right" : "wrong");
    } catch (const std::exception& error) {
      std::puts(error.what());
    }
    return 0;
  }
  return 2;
}
