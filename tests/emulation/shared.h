// What a block shares: dynamic shared memory, and the __shared__ variables.
#pragma once

#include <link.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "fiber.h"

namespace emulation {

// Poisoned before each block: dynamic shared memory, and, unless they are static for AddressSanitizer's
// sake, the __shared__ variables.
class Shared {
 public:
  void prepare(size_t bytes, unsigned random) {
    if (bytes_ != bytes || !memory_) allocate(bytes);
    constexpr std::array<unsigned char, 4> kPatterns{0xFF, 0x7F, 0x00,
                                                     0x80};  // NaN, large, zero, tiny below 0
    const int pattern = kPatterns[random % kPatterns.size()];
    std::memset(memory_.get(), pattern, bytes);
#if !EMULATION_ASAN
    std::memset(memory_.get() + bytes_, kCanary, kRedZone);
    const auto [start, size] = thread_local_storage();
    if (size) std::memset(start, pattern, size);
#endif
  }

  bool whole() const {
#if !EMULATION_ASAN
    for (size_t i = 0; i < kRedZone; ++i) {
      if (static_cast<unsigned char>(memory_[bytes_ + i]) != kCanary) return false;
    }
#endif
    return true;
  }

  void* data() { return memory_.get(); }

 private:
  static constexpr size_t kRedZone = 4096;
  static constexpr unsigned char kCanary = 0xC5;
  struct Free {
    void operator()(char* p) const { ::operator delete[](p, std::align_val_t(256)); }
  };

  void allocate(size_t bytes) {
    const size_t red_zone = EMULATION_ASAN ? 0 : kRedZone;  // AddressSanitizer brings its own
    memory_.reset(static_cast<char*>(::operator new[](bytes + red_zone, std::align_val_t(256))));
    bytes_ = bytes;
  }

  // This thread's copy of all thread_local variables of the object that this function is linked into.
  static std::pair<void*, size_t> thread_local_storage() {
    struct Found {
      uintptr_t code;
      void* start;
      size_t size;
    } found{reinterpret_cast<uintptr_t>(&thread_local_storage), nullptr, 0};
    dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void* opaque) {
          auto& wanted = *static_cast<Found*>(opaque);
          bool mine = false;
          size_t size = 0;
          for (int i = 0; i < info->dlpi_phnum; ++i) {
            const auto& part = info->dlpi_phdr[i];
            const uintptr_t start = info->dlpi_addr + part.p_vaddr;
            mine |= part.p_type == PT_LOAD && wanted.code >= start && wanted.code < start + part.p_memsz;
            if (part.p_type == PT_TLS) size = part.p_memsz;
          }
          if (!mine) return 0;
          wanted.start = info->dlpi_tls_data;
          wanted.size = wanted.start ? size : 0;
          return 1;
        },
        &found);
    return {found.start, found.size};
  }

  std::unique_ptr<char[], Free> memory_;
  size_t bytes_ = 0;
};

}  // namespace emulation
