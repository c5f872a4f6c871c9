// onehot_to_codes: one byte a letter from a one-hot tensor, and whether it was one.
#pragma once

#include "common/geometry.h"

namespace motifkit {

namespace cpu {
// x: (batch, 4, length). False where some column is neither one-hot nor all zero; codes are then of no use.
template <typename T>
bool onehot_to_codes(const T* x, int64_t batch, int64_t length, uint8_t* codes, int threads);
}  // namespace cpu

namespace cuda {
// A column that is not one-hot reads as N: whether there is one, the caller has found out or knows.
template <typename T>
void onehot_to_codes(const T* x, int64_t batch, int64_t length, uint8_t* codes, const Call& call);
}  // namespace cuda
}  // namespace motifkit
