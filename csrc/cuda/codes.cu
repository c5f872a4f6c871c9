// onehot_to_codes: one thread a letter.
#include "cuda/plan.h"
#include "ops/codes.h"

namespace motifkit::cuda {
namespace {

// ---- kernel

template <typename T>
__global__ void codes_kernel(const T* x, int64_t batch, int64_t length, uint8_t* codes) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < batch * length;
       i += step) {
    const T* column = x + i / length * 4 * length + i % length;
    int code = 4, ones = 0;
    for (int letter = 0; letter < 4; ++letter) {
      const T value = column[letter * length];
      if (value == 1) code = letter;
      ones += value == 1 ? 1 : value == 0 ? 0 : 2;
    }
    codes[i] = static_cast<uint8_t>(ones == 1 ? code : 4);
  }
}

}  // namespace

// ---- launch

template <typename T>
void onehot_to_codes(const T* x, int64_t batch, int64_t length, uint8_t* codes, const Call& call) {
  if (batch * length == 0) return;
  const DeviceGuard guard(call.device);
  const int64_t blocks = std::min<int64_t>(ceil_div(batch * length, 256), 1 << 20);
  MK_LAUNCH((codes_kernel<T>), dim3(static_cast<unsigned>(blocks)), dim3(256), 0, stream_of(call), x, batch,
            length, codes);
}

template void onehot_to_codes<float>(const float*, int64_t, int64_t, uint8_t*, const Call&);
template void onehot_to_codes<double>(const double*, int64_t, int64_t, uint8_t*, const Call&);

}  // namespace motifkit::cuda
