// One block after another, every CUDA thread a fiber that runs until it waits for others or ends.
//
// Environment: EMULATED_SCHEDULE says which thread goes on where several could. "forward" (the default): the
// first, so that early warps run ahead; "reversed": the last, blocks backwards as well; a number: any, blocks
// in any order, by a generator seeded with it. A result that depends on it lacks a barrier.
//
// Errors, thrown to whoever launched: a barrier or a warp's exchange that not all threads named reach (with a
// list of where they are), a lane that calls without being in its mask, barriers met at different lines,
// writing past the dynamic shared memory.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "fiber.h"
#include "runtime.h"
#include "shared.h"
#include "vectors.h"

inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace emulation {

constexpr int kWarp = 32;
constexpr int kMostThreads = 1024;
constexpr int kWarps = kMostThreads / kWarp;
#if EMULATION_ASAN
constexpr size_t kStackBytes = 512 * 1024;
#else
constexpr size_t kStackBytes = 128 * 1024;
#endif

// Where in a source file a thread waits.
struct Site {
  const char* what;
  const char* file;
  int line;
  bool operator==(const Site& other) const {
    return line == other.line && !std::strcmp(what, other.what) && !std::strcmp(file, other.file);
  }
};

enum class State { kReady, kBarrier, kExchange, kEnded };

struct Thread {
  explicit Thread() : fiber(kStackBytes) {}
  Fiber fiber;
  State state = State::kEnded;
  uint3 index{};
  Site site{};
  uint32_t mask = 0;      // lanes of its exchange
  uint64_t value = 0;     // what it gives to the exchange or barrier, then what it receives
  uint64_t argument = 0;  // what else the exchange needs to know, the same operation for all lanes
};

class Block {
 public:
  static Block& get() {
    static Block block;
    return block;
  }

  // Runs `body` as every thread of the block at `index`.
  template <typename Body>
  void run(const std::string& kernel, uint3 index, unsigned threads, size_t shared_bytes, Body& body) {
    try {
      run_threads(kernel, index, threads, shared_bytes, body);
    } catch (...) {
      all_.clear();  // their stacks are full of frames that nobody will leave
      throw;
    }
  }

  void schedule(const char* text) {
    forward_ = text == nullptr || std::strcmp(text, "forward") == 0;
    reversed_ = text != nullptr && std::strcmp(text, "reversed") == 0;
    random_.seed(forward_ || reversed_ ? 1 : static_cast<unsigned>(std::strtoul(text, nullptr, 10)));
  }

  // The blocks of a grid in the order of the schedule.
  std::vector<uint64_t> order(uint64_t blocks) {
    std::vector<uint64_t> all(blocks);
    std::iota(all.begin(), all.end(), uint64_t{0});
    if (reversed_) std::reverse(all.begin(), all.end());
    if (!forward_ && !reversed_) std::shuffle(all.begin(), all.end(), random_);
    return all;
  }

  // For the thread that runs: wait for all threads of the block; the sum of what they bring.
  uint64_t barrier(Site site, uint64_t value) {
    Thread& me = *all_[current_];
    me.state = State::kBarrier;
    me.site = site;
    me.value = value;
    if (++waiting_at_barrier_ == threads_) {
      release_barrier();
    } else {
      pause();
    }
    return me.value;
  }

  // For the thread that runs: wait for the lanes of `mask`; then `operation` finds, for a lane, the word it
  // receives. It sees the lanes of the warp: those of the mask hold what they brought.
  template <typename Operation>
  uint64_t exchange(Site site, uint32_t mask, uint64_t value, uint64_t argument, Operation operation) {
    const unsigned lane = current_ % kWarp;
    Thread& me = *all_[current_];
    if (!(mask >> lane & 1)) {
      throw std::runtime_error(where() + at(site) + ": lane " + std::to_string(lane) +
                               " calls, but is not in the mask " + hex(mask));
    }
    me.state = State::kExchange;
    me.site = site;
    me.mask = mask;
    me.value = value;
    me.argument = argument;
    if (all_arrived(mask, site.what)) {
      release_exchange(mask, operation);
    } else {
      pause();
    }
    return me.value;
  }

  void* dynamic_shared() { return shared_.data(); }
  unsigned lane() const { return current_ % kWarp; }

 private:
  template <typename Body>
  void run_threads(const std::string& kernel, uint3 index, unsigned threads, size_t shared_bytes,
                   Body& body) {
    kernel_ = kernel;
    blockIdx = index;
    threads_ = threads;
    body_ = [](void* opaque) { (*static_cast<Body*>(opaque))(); };
    body_argument_ = &body;
    failure_ = nullptr;
    while (all_.size() < threads) all_.push_back(std::make_unique<Thread>());
    shared_.prepare(shared_bytes, random_());
    ready_.fill(0);
    waiting_at_barrier_ = 0;
    for (unsigned i = 0; i < threads; ++i) begin(i);
    for (unsigned left = threads; left > 0;) {
      const int next = choose();
      if (next < 0) throw std::runtime_error(deadlock());
      resume(next);
      if (failure_) std::rethrow_exception(failure_);
      if (all_[next]->state == State::kEnded) --left;
    }
    if (!shared_.whole()) throw std::runtime_error(where() + " wrote past its dynamic shared memory");
  }

  void begin(unsigned i) {
    Thread& thread = *all_[i];
    thread.index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
    thread.state = State::kReady;
    thread.fiber.restart(&Block::entry);
    ready_[i / kWarp] |= 1u << i % kWarp;
  }

  static void entry() {
    Block& block = get();
    Fiber::begun(block.host_);
    try {
      block.body_(block.body_argument_);
    } catch (...) {
      block.failure_ = std::current_exception();
    }
    Thread& me = *block.all_[block.current_];
    me.state = State::kEnded;
    me.fiber.switch_to(block.host_);
    std::terminate();  // nobody resumes a thread that has ended
  }

  void resume(int i) {
    ready_[i / kWarp] &= ~(1u << i % kWarp);
    current_ = i;
    threadIdx = all_[i]->index;
    host_.switch_to(all_[i]->fiber);
  }

  void pause() { all_[current_]->fiber.switch_to(host_); }

  // A thread that can go on, or -1.
  int choose() {
    const int warps = static_cast<int>((threads_ + kWarp - 1) / kWarp);
    const unsigned draw = forward_ || reversed_ ? 0 : random_();
    for (int i = 0; i < warps; ++i) {
      const int warp = reversed_ ? warps - 1 - i : static_cast<int>((i + (draw >> 5)) % warps);
      const uint32_t lanes = ready_[warp];
      if (lanes == 0) continue;
      if (reversed_) return warp * kWarp + 31 - std::countl_zero(lanes);
      const int turn = draw & 31;
      return warp * kWarp + (std::countr_zero(std::rotr(lanes, turn)) + turn) % kWarp;
    }
    return -1;
  }

  void set_ready(unsigned i) {
    all_[i]->state = State::kReady;
    if (i != static_cast<unsigned>(current_)) ready_[i / kWarp] |= 1u << i % kWarp;
  }

  void release_barrier() {
    const Site& site = all_[current_]->site;
    uint64_t sum = 0;
    for (unsigned i = 0; i < threads_; ++i) {
      if (!(all_[i]->site == site)) throw std::runtime_error(deadlock());
      sum += all_[i]->value;
    }
    waiting_at_barrier_ = 0;
    for (unsigned i = 0; i < threads_; ++i) {
      all_[i]->value = sum;
      set_ready(i);
    }
  }

  bool all_arrived(uint32_t mask, const char* what) const {
    const unsigned first = current_ / kWarp * kWarp;
    for (uint32_t lanes = mask; lanes; lanes &= lanes - 1) {
      const unsigned i = first + std::countr_zero(lanes);
      if (i >= threads_) return false;
      const Thread& other = *all_[i];
      if (other.state != State::kExchange || other.mask != mask || std::strcmp(other.site.what, what)) {
        return false;
      }
    }
    return true;
  }

  template <typename Operation>
  void release_exchange(uint32_t mask, Operation operation) {
    const unsigned first = current_ / kWarp * kWarp;
    std::array<uint64_t, kWarp> values;
    std::array<uint64_t, kWarp> received{};
    values.fill(~uint64_t{0});  // what a lane outside the mask holds is anybody's guess
    for (uint32_t lanes = mask; lanes; lanes &= lanes - 1) {
      const int lane = std::countr_zero(lanes);
      values[lane] = all_[first + lane]->value;
    }
    for (uint32_t lanes = mask; lanes; lanes &= lanes - 1) {
      const int lane = std::countr_zero(lanes);
      received[lane] = operation(values, mask, lane, all_[first + lane]->argument);
    }
    for (uint32_t lanes = mask; lanes; lanes &= lanes - 1) {
      const int lane = std::countr_zero(lanes);
      all_[first + lane]->value = received[lane];
      set_ready(first + lane);
    }
  }

  std::string where() const {
    return kernel_ + ", block (" + std::to_string(blockIdx.x) + ", " + std::to_string(blockIdx.y) + ", " +
           std::to_string(blockIdx.z) + ")";
  }

  static std::string hex(uint32_t mask) {
    constexpr const char* kDigits = "0123456789abcdef";
    std::string text = "0x";
    for (int shift = 28; shift >= 0; shift -= 4) text += kDigits[mask >> shift & 15];
    return text;
  }

  static std::string at(const Site& site) {
    const char* name = std::strrchr(site.file, '/');
    return std::string(" at ") + site.what + " (" + (name ? name + 1 : site.file) + ":" +
           std::to_string(site.line) + ")";
  }

  std::string deadlock() const {
    std::map<std::string, int> groups;
    for (unsigned i = 0; i < threads_; ++i) {
      const Thread& thread = *all_[i];
      std::string state = thread.state == State::kReady ? " can go on" : " have ended";
      if (thread.state == State::kBarrier) state = " wait" + at(thread.site);
      if (thread.state == State::kExchange) state = " wait" + at(thread.site) + ", mask " + hex(thread.mask);
      ++groups[state];
    }
    std::string text = where() + " is stuck:";
    for (const auto& [state, count] : groups) text += " " + std::to_string(count) + state + ";";
    text.back() = '.';
    return text;
  }

  std::string kernel_;
  unsigned threads_ = 0;
  void (*body_)(void*) = nullptr;
  void* body_argument_ = nullptr;
  std::exception_ptr failure_;
  std::vector<std::unique_ptr<Thread>> all_;
  std::array<uint32_t, kWarps> ready_{};
  unsigned waiting_at_barrier_ = 0;
  int current_ = 0;
  Fiber host_;
  Shared shared_;
  bool forward_ = true;
  bool reversed_ = false;
  std::mt19937 random_{1};
};

inline void* dynamic_shared() {
  return Block::get().dynamic_shared();
}

// One launch: refuse what a device would refuse, then all blocks in the order of the schedule.
template <typename Body>
cudaError_t run(const char* name, const void* kernel, dim3 grid, dim3 block, size_t shared_bytes,
                cudaStream_t, Body body) {
  constexpr size_t kWithoutAsking = 48 * 1024;
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > kMostThreads || block.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 ||
      grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535) {
    return status(cudaErrorInvalidConfiguration);
  }
  if (shared_bytes > kWithoutAsking && static_cast<int>(shared_bytes) > opted_in()[kernel]) {
    return status(cudaErrorInvalidValue);
  }
  static std::mutex one_launch_at_a_time;
  const std::lock_guard<std::mutex> lock(one_launch_at_a_time);
  Block& runner = Block::get();
  runner.schedule(std::getenv("EMULATED_SCHEDULE"));
  blockDim = block;
  gridDim = grid;
  for (const uint64_t i : runner.order(uint64_t{grid.x} * grid.y * grid.z)) {
    const uint3 index{static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                      static_cast<unsigned>(i / grid.x / grid.y)};
    runner.run(name, index, static_cast<unsigned>(threads), shared_bytes, body);
  }
  return cudaSuccess;
}

}  // namespace emulation
