// What the ops share on the CPU: filter blocks, their tables, tiles of positions, and work split over
// threads.
#pragma once

#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef __linux__
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <type_traits>
#include <vector>

#include "cpu/kernels.h"

namespace motifkit::cpu {

// Memory that a thread used for one call and keeps for the next: on a fresh page the first write costs more
// than all the arithmetic that will happen there. No result refers to it.
class Workspace {
 public:
  static void* take(size_t bytes) {
    auto& blocks = mine().blocks_;
    for (auto block = blocks.begin(); block != blocks.end(); ++block) {
      if (block->bytes < bytes || block->bytes > 4 * bytes + 4096) continue;
      void* p = block->memory;
      blocks.erase(block);
      return p;
    }
    // The size stands in front, a cache line before what is handed out.
    auto* p = static_cast<char*>(std::aligned_alloc(64, bytes + 64));
    if (p == nullptr) throw std::bad_alloc();
    *reinterpret_cast<size_t*>(p) = bytes;
    return p + 64;
  }
  static void give_back(void* p) {
    const size_t bytes = *reinterpret_cast<size_t*>(static_cast<char*>(p) - 64);
    auto& blocks = mine().blocks_;
    if (bytes > kMostBytes || blocks.size() >= kMostBlocks) {
      std::free(static_cast<char*>(p) - 64);
    } else {
      blocks.push_back({bytes, p});
    }
  }
  ~Workspace() {
    for (const Block& block : blocks_) std::free(static_cast<char*>(block.memory) - 64);
  }

 private:
  static constexpr size_t kMostBytes = size_t{4} << 20, kMostBlocks = 16;
  struct Block {
    size_t bytes;
    void* memory;
  };
  static Workspace& mine() {
    thread_local Workspace instance;
    return instance;
  }
  std::vector<Block> blocks_;
};

struct GiveBack {
  void operator()(void* p) const { Workspace::give_back(p); }
};

// Memory for a vector unit: 64-byte aligned, not initialised.
template <typename T>
using Buffer = std::unique_ptr<T[], GiveBack>;

template <typename T>
Buffer<T> allocate(int64_t count) {
  static_assert(std::is_trivial_v<T>);
  const size_t bytes = (static_cast<size_t>(std::max<int64_t>(count, 1)) * sizeof(T) + 63) / 64 * 64;
  return Buffer<T>(static_cast<T*>(Workspace::take(bytes)));
}

// Asks for large pages behind memory that is about to be written for the first time: a page fault costs more
// than writing the page.
inline void expect_writes(void* p, int64_t bytes) {
#ifdef __linux__
  constexpr uintptr_t kPage = 4096;
  constexpr int64_t kWorthIt = int64_t{4} << 20;
  if (bytes < kWorthIt) return;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(p) + kPage - 1) / kPage * kPage;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(p) + static_cast<uintptr_t>(bytes)) / kPage * kPage;
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  (void)p, (void)bytes;
#endif
}

// to_columns may read this many rows where `rows` are given: whole 16 x 16 tiles.
inline int64_t rows_to_turn(int64_t rows) {
  return (rows + 15) / 16 * 16;
}

// Whether an output is better written past the caches: the second level does not hold it.
template <typename T>
bool past_caches(int64_t values) {
  return values * static_cast<int64_t>(sizeof(T)) >= int64_t{4} << 20;
}

// Writes a block's rows (rows, lanes) as columns of an output (.., live, row_length). A large output is
// turned in scratch and written line after line: column by column every line would be fetched first, from
// memory.
template <typename T>
class ColumnWriter {
 public:
  ColumnWriter(int64_t out_values, int64_t row_length, int64_t most_rows)
      : row_length_(row_length), large_(past_caches<T>(out_values)) {
    if (large_) scratch_ = allocate<T>(most_rows * kBlockLanes);
  }
  void write(const T* rows, int64_t count, int lanes, int64_t live, T* out) const {
    const auto& k = kernels<T>();
    if (!large_) return k.to_columns(rows, count, lanes, live, out, row_length_);
    k.to_columns(rows, count, lanes, live, scratch_.get(), count);
    if (count == row_length_) return k.stream(scratch_.get(), live * count, out);
    for (int64_t lane = 0; lane < live; ++lane)
      k.stream(scratch_.get() + lane * count, count, out + lane * row_length_);
  }

 private:
  int64_t row_length_;
  bool large_;
  Buffer<T> scratch_;
};

// body(begin, end) over [0, count), one contiguous share a thread; the first exception is thrown again at the
// end. Without OpenMP (as for ThreadSanitizer, which does not see into its runtime) each share has a thread
// of its own.
template <typename Body>
void parallel_for(int threads, int64_t count, const Body& body) {
  const int64_t team = std::clamp<int64_t>(threads, 1, std::max<int64_t>(count, 1));
  if (team == 1) {
    if (count > 0) body(int64_t{0}, count);
    return;
  }
  std::exception_ptr failure;
  std::mutex lock;
  const auto share = [&](int64_t me, int64_t all) {
    const int64_t begin = count * me / all, end = count * (me + 1) / all;
    try {
      if (begin < end) body(begin, end);
    } catch (...) {
      const std::lock_guard<std::mutex> guard(lock);
      if (!failure) failure = std::current_exception();
    }
  };
#ifdef _OPENMP
#pragma omp parallel num_threads(static_cast<int>(team))
  share(omp_get_thread_num(), omp_get_num_threads());
#else
  std::vector<std::thread> others;
  for (int64_t i = 1; i < team; ++i) others.emplace_back(share, i, team);
  share(0, team);
  for (auto& thread : others) thread.join();
#endif
  if (failure) std::rethrow_exception(failure);
}

// Filters in blocks of kBlockLanes; the last has kTailLanes where those are enough.
class Blocks {
 public:
  explicit Blocks(int64_t filters) : filters_(filters) {}
  int64_t count() const { return (filters_ + kBlockLanes - 1) / kBlockLanes; }
  int64_t first(int64_t block) const { return block * kBlockLanes; }
  int64_t live(int64_t block) const { return std::min<int64_t>(kBlockLanes, filters_ - first(block)); }
  int lanes(int64_t block) const { return live(block) <= kTailLanes ? kTailLanes : kBlockLanes; }
  int64_t padded() const { return count() == 0 ? 0 : first(count() - 1) + lanes(count() - 1); }

 private:
  int64_t filters_;
};

// Groups that sums are taken in before they meet: as the shape alone says, and with them the order of
// additions, so that any number of threads gives the same bits.
inline constexpr int64_t kGroupPositions = 16384;
inline int64_t sum_groups(int64_t positions, int64_t units) {
  constexpr int64_t kMostGroups = 32;
  return std::clamp<int64_t>(positions / kGroupPositions, 1,
                             std::min(kMostGroups, std::max<int64_t>(units, 1)));
}

inline int64_t power(int64_t base, int exponent) {
  int64_t out = 1;
  for (int i = 0; i < exponent; ++i) out *= base;
  return out;
}

// Letters a word, for `positions` windows of `columns` letters: longer words take fewer look-ups a window but
// more rows to build (and, for `sums`, to clear and fold), and should stay in the second-level cache. Depends
// on the shape alone, and with it the order of additions.
template <typename T>
int choose_chunk(int64_t columns, int64_t positions, bool sums) {
  constexpr double kCacheBytes = 512 * 1024;
  const double row_cost = sums ? 4.0 : 1.0;
  int chosen = 1;
  double least = 0;
  for (int chunk = 1; chunk <= kMaxChunk; ++chunk) {
    const double chunks = static_cast<double>((columns + chunk - 1) / chunk);
    const double rows = static_cast<double>(power(kWords, chunk));
    const double bytes = chunks * rows * kBlockLanes * sizeof(T);
    const double look_up = bytes > kCacheBytes ? 2.0 : 1.0;
    const double cost = chunks * (static_cast<double>(positions) * look_up + rows * row_cost);
    if (chunk == 1 || cost < least) {
      least = cost;
      chosen = chunk;
    }
  }
  return chosen;
}

// Tables of one block, or sums of the same shape, in memory of their own.
template <typename T>
class BlockTables {
 public:
  BlockTables(int64_t columns, int chunk) : columns_(columns), chunk_(chunk) {
    const int64_t chunks = (columns + chunk - 1) / chunk;
    rows_ = allocate<T>(chunks * power(kWords, chunk) * kBlockLanes);
    scratch_ = allocate<T>(chunks * chunk * kWords * kBlockLanes);
  }

  // Shape only: for sums, which clear() then empties.
  void reshape(int lanes) {
    tables_ = {rows_.get(), lanes, chunk_, static_cast<int>((columns_ + chunk_ - 1) / chunk_),
               power(kWords, chunk_) * lanes * static_cast<int64_t>(sizeof(T))};
  }
  void clear() { std::fill_n(rows_.get(), tables_.chunks * power(kWords, chunk_) * tables_.lanes, T(0)); }

  // weight (live, 4, width), columns [column, column + columns).
  void build(const T* weight, int64_t live, int lanes, int64_t width, int64_t column, const T* sign) {
    reshape(lanes);
    kernels<T>().tables(weight, live, width, column, columns_, sign, scratch_.get(), tables_);
  }

  const Tables<T>& get() const { return tables_; }
  uint32_t row_bytes() const { return static_cast<uint32_t>(tables_.lanes * sizeof(T)); }
  int64_t reach() const { return static_cast<int64_t>(tables_.chunks - 1) * tables_.chunk; }

 private:
  int64_t columns_;
  int chunk_;
  Buffer<T> rows_, scratch_;
  Tables<T> tables_{};
};

inline constexpr int64_t kTilePositions = 2048;

// Words of a run of windows of one sequence.
class WordBuffer {
 public:
  // Room for `positions` windows of `columns` letters.
  WordBuffer(int64_t positions, int64_t columns)
      : letters_(allocate<uint8_t>(positions + columns + 2 * kMaxChunk)),
        offsets_(allocate<uint32_t>(positions + columns + kMaxChunk)) {}

  // Windows [begin, end) whose first letter lies `shift` letters after the window's position.
  template <typename T>
  Words fill(const uint8_t* codes, int64_t length, int64_t begin, int64_t end, int64_t shift,
             const BlockTables<T>& tables) {
    kernels<T>().words(codes, length, begin + shift, end - begin + tables.reach(), tables.get().chunk,
                       tables.row_bytes(), letters_.get(), offsets_.get());
    return {offsets_.get(), begin};
  }

 private:
  Buffer<uint8_t> letters_;
  Buffer<uint32_t> offsets_;
};

// Pooling windows cut into tiles of about kTilePositions positions, the unit of work of pooling ops.
struct PoolTiling {
  PoolTiling(const PoolShape& shape, int64_t row_length)
      : pool(shape),
        length(row_length),
        windows(std::max<int64_t>(1, (kTilePositions - shape.size) / shape.stride + 1)),
        tiles((shape.out_length + windows - 1) / windows),
        positions(std::min(row_length, (windows - 1) * shape.stride + shape.size)) {}

  PoolTile tile(int64_t index) const {
    return {pool, length, index * windows, std::min(pool.out_length, (index + 1) * windows)};
  }
  static int64_t first_position(const PoolTile& t) {
    return std::max<int64_t>(0, t.begin * t.shape.stride - t.shape.padding);
  }
  static int64_t end_position(const PoolTile& t) {
    return std::min(t.length, (t.end - 1) * t.shape.stride - t.shape.padding + t.shape.size);
  }
  // Room pool_tables and pool_rows need beside their results, in T.
  template <typename T>
  int64_t scratch() const {
    return pool.size > pool.stride ? 4 * (pool.size / pool.stride) * kBlockLanes : 0;
  }

  PoolShape pool;
  int64_t length;
  int64_t windows;    // a tile, at most
  int64_t tiles;      // a row
  int64_t positions;  // a tile, at most
};

}  // namespace motifkit::cpu
