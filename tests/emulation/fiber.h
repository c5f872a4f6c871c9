// Fibers: threads of control that switch by hand, a few nanoseconds a switch. One operating-system thread
// runs them all, so that nothing here needs a lock.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#define EMULATION_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define EMULATION_ASAN 0
#endif

// emulation_switch(save, to): push what a callee must preserve, leave the stack pointer in *save, take `to`
// for stack pointer, pop the same. Weak and in a section of its own: every file that includes this has one.
extern "C" void emulation_switch(void** save, void* to);

#if defined(__x86_64__)
asm(R"(
  .pushsection .text.emulation_switch,"axG",@progbits,emulation_switch,comdat
  .weak emulation_switch
  .hidden emulation_switch
  .type emulation_switch,@function
emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size emulation_switch,.-emulation_switch
  .popsection
)");
#elif defined(__aarch64__)
asm(R"(
  .pushsection .text.emulation_switch,"axG",@progbits,emulation_switch,comdat
  .weak emulation_switch
  .hidden emulation_switch
  .type emulation_switch,@function
emulation_switch:
  sub sp, sp, #160
  stp x19, x20, [sp]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
  .size emulation_switch,.-emulation_switch
  .popsection
)");
#else
#error "the CUDA emulation switches stacks on x86-64 and aarch64 only"
#endif

namespace emulation {

class Fiber {
 public:
  using Entry = void (*)();  // must leave by switching away, never by returning

  // The fiber of whoever is running now: it has a stack already.
  Fiber() = default;

  explicit Fiber(size_t stack_bytes) : size_(stack_bytes), owned_(true) {
    // A page that cannot be touched lies below each stack: an overflow stops there.
    void* memory = mmap(nullptr, size_ + kPage, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    mprotect(memory, kPage, PROT_NONE);
    stack_ = static_cast<char*>(memory) + kPage;
  }

  ~Fiber() {
    if (!owned_) return;
#if EMULATION_ASAN
    __asan_unpoison_memory_region(stack_, size_);
#endif
    munmap(stack_ - kPage, size_ + kPage);
  }

  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Begin at `entry`, the first time or once it has left for good: only its own frame may still be there.
  void restart(Entry entry) {
#if EMULATION_ASAN
    constexpr size_t kOneFrame = 4096;
    __asan_unpoison_memory_region(stack_ + size_ - kOneFrame, kOneFrame);
    fake_stack_ = nullptr;
#endif
    auto* top = reinterpret_cast<uintptr_t*>(stack_ + size_);
    for (int i = 1; i <= kSavedWords + 2; ++i) top[-i] = 0;
#if defined(__x86_64__)
    top[-2] = reinterpret_cast<uintptr_t>(entry);  // above it a return address of 0 ends every unwinding
    pointer_ = top - 2 - kSavedWords;
#else
    pointer_ = top - kSavedWords;
    static_cast<uintptr_t*>(pointer_)[11] = reinterpret_cast<uintptr_t>(entry);  // x30
#endif
  }

  // Leave this fiber, which is the one running, and go on in another.
  void switch_to(Fiber& other) {
#if EMULATION_ASAN
    __sanitizer_start_switch_fiber(&fake_stack_, other.stack_, other.size_);
#endif
    emulation_switch(&pointer_, other.pointer_);
#if EMULATION_ASAN
    __sanitizer_finish_switch_fiber(fake_stack_, nullptr, nullptr);
#endif
  }

  // First thing in an entry function: tell the sanitizer, and learn where the stack of `from` is.
  static void begun([[maybe_unused]] Fiber& from) {
#if EMULATION_ASAN
    const void* bottom = nullptr;
    __sanitizer_finish_switch_fiber(nullptr, &bottom, &from.size_);
    from.stack_ = static_cast<char*>(const_cast<void*>(bottom));
#endif
  }

 private:
  static constexpr size_t kPage = 64 * 1024;  // the largest page of the processors in question
#if defined(__x86_64__)
  static constexpr int kSavedWords = 6;
#else
  static constexpr int kSavedWords = 20;
#endif

  void* pointer_ = nullptr;
  char* stack_ = nullptr;
  size_t size_ = 0;
  bool owned_ = false;
#if EMULATION_ASAN
  void* fake_stack_ = nullptr;
#endif
};

}  // namespace emulation
