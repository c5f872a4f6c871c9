// onehot_to_codes: one byte a letter from a one-hot tensor, and whether it was one.
#pragma once

#include <cstdint>

namespace motifkit::cpu {
// x: (batch, 4, length). False where some column is neither one-hot nor all zero; codes are then of no use.
template <typename T>
bool onehot_to_codes(const T* x, int64_t batch, int64_t length, uint8_t* codes, int threads);
}  // namespace motifkit::cpu
