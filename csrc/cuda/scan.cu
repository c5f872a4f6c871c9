// scan: each warp finds the best window of a span for 32 lanes, a second kernel the best of all spans and
// strands. scan_hits: each slot of a warp takes a span for itself, window after window, so that its hits come
// in order: counted first, then, when the host has made room, written.
#include "cuda/plan.h"
#include "ops/scan.h"

namespace motifkit::cuda {
namespace {

// ---- traits

constexpr int kScanThreads = 512;
constexpr int kPieceWindows = 256;    // whose words are held at once
constexpr int kSpanWindows = 512;     // of one piece of work, at least
constexpr int64_t kMostSpans = 8192;  // of a sequence

// Sequences cut into spans of windows.
struct Spans {
  int64_t length, windows, per_sequence;

  __host__ __device__ explicit Spans(int64_t of)
      : length(of),
        windows(pieces(lower(of, upper(kSpanWindows, ceil_div(of, kMostSpans))))),
        per_sequence(ceil_div(of, windows)) {}
  __host__ __device__ static int64_t pieces(int64_t of) {
    return ceil_div(of, kPieceWindows) * kPieceWindows;
  }
  __device__ int64_t begin(int64_t span) const { return span * windows; }
  __device__ int64_t end(int64_t span) const { return lower(length, (span + 1) * windows); }
};

template <typename T>
struct ScanJob {
  ConvShape conv;
  Spans spans;
  const uint8_t* codes;
  int64_t codes_stride;
  Filters<T> filters;
  TablePlan plan;
  const T* tables;  // in scratch memory, or null
  int warps;

  __host__ __device__ int64_t lanes() const { return ceil_div(filters.count, kLanes) * kLanes; }
  __host__ __device__ int64_t units() const { return conv.batch * spans.per_sequence; }
  __host__ __device__ int words() const { return (kPieceWindows + plan.reach() + 15) / 16 * 16; }
  __device__ Letters letters(int64_t sequence) const {
    return {codes + sequence * codes_stride, conv.length};
  }
  __device__ int8_t strand(int64_t lane) const { return filters.forward(lane) ? 1 : -1; }
};

// The best window of a span for a lane; `where` counts windows from the span's first.
template <typename T>
struct Partial {
  T* value;  // (spans of all sequences, lanes) each
  int* where;
};

// ---- kernel

// Grid: x shares out spans, y is the block of lanes.
template <typename T, int kChunks>
__global__ void __launch_bounds__(kScanThreads, 1) scan_kernel(ScanJob<T> job, Partial<T> partial) {
  using S = Slot<T>;
  __shared__ TableScratch<T> scratch;
  MK_DYNAMIC_SHARED(unsigned char, memory);
  const T* tables = take_tables<kChunks>(job.filters, Unsigned<T>(), blockIdx.y, job.plan, scratch,
                                         job.tables, reinterpret_cast<T*>(memory));
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, slot = lane / S::kThreads;
  uint8_t* words = memory + (job.plan.shared ? job.plan.elements() * sizeof(T) : 0) + warp * job.words();
  const TableReader<T, kChunks> reader(tables, words, job.plan, lane % S::kThreads);
  const int64_t step = static_cast<int64_t>(gridDim.x) * job.warps;
  // Blocks first, then warps: few spans are spread over the whole device.
  for (int64_t unit = blockIdx.x + static_cast<int64_t>(gridDim.x) * warp; unit < job.units(); unit += step) {
    const int64_t sequence = unit / job.spans.per_sequence, span = unit % job.spans.per_sequence;
    const int64_t begin = job.spans.begin(span), end = job.spans.end(span);
    Best<T> best;
    for (int64_t from = begin; from < end; from += kPieceWindows) {
      const int count = static_cast<int>(lower(kPieceWindows, end - from));
      __syncwarp();  // nobody reads the words before these any more
      fill_words(job.letters(sequence), from - job.conv.pad_left, count + job.plan.reach(), job.plan.chunk,
                 words, lane, kWarp);
      __syncwarp();
      const int skip = count * slot / S::kSlots, stop = count * (slot + 1) / S::kSlots;
      best.take_run(reader, skip, static_cast<int>(from - begin) + skip, stop - skip);
    }
    for (int distance = S::kThreads; distance < kWarp; distance *= 2) best.combine_across(distance);
    if (slot > 0) continue;
    const int64_t at = unit * job.lanes() + blockIdx.y * kLanes + lane * S::kElements;
#pragma unroll
    for (int e = 0; e < S::kElements; ++e) {
      partial.value[at + e] = best.value.at[e];
      partial.where[at + e] = best.where[e];
    }
  }
}

// A window of one sequence, and the strand it was read on.
template <typename T>
struct Found {
  T score;
  int64_t where;  // -1: none yet
  int strand;

  // Of equals the lower position, then the forward strand.
  __device__ void take(T value, int64_t there, int on) {
    const bool first = there < where || (there == where && on > strand);
    if (where >= 0 && !(value > score) && !((value == score || value != value) && first)) return;
    score = value;
    where = there;
    strand = on;
  }
};

// The best of all spans and strands, by a team of 1 or 32 threads for each sequence and filter.
template <typename T>
__global__ void best_kernel(ScanJob<T> job, Partial<T> partial, ScanParams<T> p, int team) {
  const int64_t count = job.conv.batch * job.conv.filters, spans = job.spans.per_sequence;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x / team;
  const int64_t start = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / team;
  const int member = threadIdx.x % team;
  for (int64_t i = start; i < count; i += step) {
    const int64_t sequence = i / job.conv.filters, f = i % job.conv.filters;
    Found<T> best{0, -1, 0};
    for (int64_t span = member; span < spans; span += team)
      for (int s = 0; s < job.filters.strands; ++s) {
        const int64_t lane = f * job.filters.strands + s;
        const int64_t at = (sequence * spans + span) * job.lanes() + lane;
        best.take(partial.value[at], job.spans.begin(span) + partial.where[at], job.strand(lane));
      }
    for (int distance = team / 2; distance > 0; distance /= 2) {
      const T score = __shfl_xor_sync(kAll, best.score, distance);
      const int64_t where = __shfl_xor_sync(kAll, best.where, distance);
      const int strand = __shfl_xor_sync(kAll, best.strand, distance);
      if (where >= 0) best.take(score, where, strand);
    }
    if (member > 0) continue;
    p.score[i] = p.bias == nullptr ? best.score : best.score + p.bias[f];
    p.position[i] = best.where - job.conv.pad_left;
    p.strand[i] = static_cast<int8_t>(best.strand);
  }
}

// Counts the hits of each span, or writes them from where counting says they belong. Grid as scan_kernel.
template <typename T, int kChunks, bool kWrite>
__global__ void __launch_bounds__(kScanThreads, 1)
    hits_kernel(ScanJob<T> job, ScanHitsParams<T> p, int64_t* counts, const int64_t* starts) {
  using S = Slot<T>;
  __shared__ TableScratch<T> scratch;
  MK_DYNAMIC_SHARED(unsigned char, memory);
  const T* tables = take_tables<kChunks>(job.filters, Unsigned<T>(), blockIdx.y, job.plan, scratch,
                                         job.tables, reinterpret_cast<T*>(memory));
  const int slot = threadIdx.x / S::kThreads, thread = threadIdx.x % S::kThreads;
  const int slots = job.warps * S::kSlots;
  uint8_t* words = memory + (job.plan.shared ? job.plan.elements() * sizeof(T) : 0) + slot * job.words();
  const TableReader<T, kChunks> reader(tables, words, job.plan, thread);
  const int64_t lane = blockIdx.y * static_cast<int64_t>(kLanes) + thread * S::kElements;
  T bias[S::kElements], bar[S::kElements];
#pragma unroll
  for (int e = 0; e < S::kElements; ++e) {
    const bool live = lane + e < job.filters.count;
    const int64_t f = job.filters.filter(lane + e);
    bias[e] = live && p.bias != nullptr ? p.bias[f] : T(0);
    bar[e] = live ? p.threshold[f] : static_cast<T>(INFINITY);
  }
  const int64_t rounds = ceil_div(job.units(), static_cast<int64_t>(gridDim.x) * slots);
  for (int64_t round = 0; round < rounds; ++round) {
    const int64_t unit = (round * slots + slot) * gridDim.x + blockIdx.x;
    const bool active = unit < job.units();
    const int64_t sequence = unit / job.spans.per_sequence, span = unit % job.spans.per_sequence;
    const int64_t begin = active ? job.spans.begin(span) : 0, end = active ? job.spans.end(span) : 0;
    int64_t cell[S::kElements];  // of each element's filter; then its number of hits, or where the next goes
    int64_t next[S::kElements];
#pragma unroll
    for (int e = 0; e < S::kElements; ++e) {
      cell[e] = (sequence * job.conv.filters + job.filters.filter(lane + e)) * job.spans.per_sequence + span;
      next[e] = kWrite && active && lane + e < job.filters.count ? starts[cell[e]] : 0;
    }
    for (int64_t from = begin; from < begin + job.spans.windows; from += kPieceWindows) {
      const int count = static_cast<int>(upper(0, lower(kPieceWindows, end - from)));
      __syncwarp();  // nobody reads the words before these any more
      if (count > 0)
        fill_words(job.letters(sequence), from - job.conv.pad_left, count + job.plan.reach(), job.plan.chunk,
                   words, thread, S::kThreads);
      __syncwarp();
      reader.each(0, count, [&](const Pack<T>& z, int i) {
#pragma unroll
        for (int e = 0; e < S::kElements; ++e) {
          const T score = z.at[e] + bias[e];
          if (!(score > bar[e])) continue;
          // Both strands of a filter are on one thread, the forward one first: they share its place.
          const int owner = job.filters.strands == 2 ? e - e % 2 : e;
          int64_t at = 0;
#pragma unroll
          for (int o = 0; o < S::kElements; ++o)
            if (o == owner) at = next[o]++;
          if constexpr (kWrite) {
            p.sequence[at] = sequence;
            p.filter[at] = job.filters.filter(lane + e);
            p.position[at] = from + i - job.conv.pad_left;
            p.strand[at] = job.strand(lane + e);
            p.score[at] = score;
          }
        }
      });
    }
    if constexpr (!kWrite) {
#pragma unroll
      for (int e = 0; e < S::kElements; ++e)
        if (active && lane + e < job.filters.count && (job.filters.strands == 1 || e % 2 == 0))
          counts[cell[e]] = next[e];
    }
  }
}

// ---- template choice

// Room for `warp_runs` runs of words a warp. The words' length follows from the width alone, so that scores
// do not depend on how sequences are shared between batches.
template <typename T, typename Params>
ScanJob<T> job_of(const Params& p, int warp_runs) {
  const bool both = p.strands == Strands::kBoth;
  const int strands = both ? 2 : 1;
  ScanJob<T> job{p.conv,
                 Spans(p.conv.out_length()),
                 p.codes,
                 p.codes_stride,
                 {p.weight, p.conv.filters * strands, static_cast<int>(p.conv.width), strands,
                  p.strands != Strands::kReverse},
                 {},
                 nullptr,
                 1};
  const int64_t limit = shared_memory_limit() - static_cast<int64_t>(sizeof(TableScratch<T>)) - 256;
  constexpr int kLeastWarps = 4;
  const int64_t run = round_up(kPieceWindows + p.conv.width + kMaxChunk, 16);
  job.plan = choose_tables<T>(p.conv.width, kManyPositions, limit - kLeastWarps * warp_runs * run);
  const int64_t room = limit - (job.plan.shared ? job.plan.elements() * static_cast<int64_t>(sizeof(T)) : 0);
  job.warps =
      static_cast<int>(std::clamp<int64_t>(room / (warp_runs * job.words()), 1, kScanThreads / kWarp));
  return job;
}

template <typename T>
int64_t built_bytes(const ScanJob<T>& job) {
  return round_up(built_tables_bytes<T>(job.plan, job.filters.count), 256);
}

template <typename T>
dim3 grid_of(const ScanJob<T>& job) {
  const int64_t blocks = ceil_div(job.filters.count, kLanes);
  const int64_t wanted = std::max<int64_t>(1, 2 * multiprocessors() / blocks);
  return dim3(static_cast<unsigned>(std::min(wanted, job.units())), static_cast<unsigned>(blocks));
}

template <typename T>
int64_t shared_bytes(const ScanJob<T>& job, int warp_runs) {
  return (job.plan.shared ? job.plan.elements() * static_cast<int64_t>(sizeof(T)) : 0) +
         job.warps * warp_runs * job.words();
}

template <typename T>
void take_scratch(ScanJob<T>& job, const Call& call) {
  T* tables = static_cast<T*>(call.scratch);
  job.tables = tables;
  build_tables_in_scratch(job.filters, Unsigned<T>(), job.plan, tables, stream_of(call));
}

template <typename T, bool kWrite>
void run_hits(const ScanHitsParams<T>& p, int64_t* counts, const int64_t* starts, const Call& call) {
  if (p.conv.batch == 0 || p.conv.filters == 0) return;
  const DeviceGuard guard(call.device);
  ScanJob<T> job = job_of<T>(p, Slot<T>::kSlots);
  take_scratch(job, call);
  const auto launch_hits = [&](auto kernel) {
    launch("hits_kernel", kernel, grid_of(job), dim3(job.warps * kWarp), shared_bytes(job, Slot<T>::kSlots),
           stream_of(call), job, p, counts, starts);
  };
  if (!job.plan.shared) {
    launch_hits(hits_kernel<T, kScratchTables, kWrite>);
  } else if (job.plan.is(kSevenOfThree)) {
    launch_hits(hits_kernel<T, kSevenOfThree, kWrite>);
  } else {
    launch_hits(hits_kernel<T, kAnyChunks, kWrite>);
  }
}

template <typename T>
int64_t hits_scratch(const ScanHitsParams<T>& p, int device) {
  const DeviceGuard guard(device);
  return built_bytes(job_of<T>(p, Slot<T>::kSlots));
}

}  // namespace

// ---- launch

template <typename T>
int64_t scan_scratch(const ScanParams<T>& p, int device) {
  const DeviceGuard guard(device);
  const ScanJob<T> job = job_of<T>(p, 1);
  return built_bytes(job) + job.units() * job.lanes() * static_cast<int64_t>(sizeof(int) + sizeof(T));
}

template <typename T>
void scan(const ScanParams<T>& p, const Call& call) {
  if (p.conv.batch == 0 || p.conv.filters == 0) return;
  const DeviceGuard guard(call.device);
  const cudaStream_t stream = stream_of(call);
  ScanJob<T> job = job_of<T>(p, 1);
  take_scratch(job, call);
  Partial<T> partial;
  partial.value = reinterpret_cast<T*>(static_cast<char*>(call.scratch) + built_bytes(job));
  partial.where = reinterpret_cast<int*>(partial.value + job.units() * job.lanes());
  const auto launch_scan = [&](auto kernel) {
    launch("scan_kernel", kernel, grid_of(job), dim3(job.warps * kWarp), shared_bytes(job, 1), stream, job,
           partial);
  };
  if (!job.plan.shared) {
    launch_scan(scan_kernel<T, kScratchTables>);
  } else if (job.plan.is(kSevenOfThree)) {
    launch_scan(scan_kernel<T, kSevenOfThree>);
  } else {
    launch_scan(scan_kernel<T, kAnyChunks>);
  }
  const int team = job.spans.per_sequence > 4 ? kWarp : 1;
  const int64_t blocks = std::min<int64_t>(ceil_div(p.conv.batch * p.conv.filters * team, 256), 1 << 16);
  MK_LAUNCH((best_kernel<T>), dim3(static_cast<unsigned>(blocks)), dim3(256), 0, stream, job, partial, p,
            team);
}

int64_t hit_spans(int64_t windows) {
  return Spans(windows).per_sequence;
}

template <typename T>
int64_t count_hits_scratch(const ScanHitsParams<T>& p, int device) {
  return hits_scratch(p, device);
}
template <typename T>
int64_t write_hits_scratch(const ScanHitsParams<T>& p, int device) {
  return hits_scratch(p, device);
}
template <typename T>
void count_hits(const ScanHitsParams<T>& p, int64_t* counts, const Call& call) {
  run_hits<T, false>(p, counts, nullptr, call);
}
template <typename T>
void write_hits(const ScanHitsParams<T>& p, const int64_t* starts, const Call& call) {
  run_hits<T, true>(p, nullptr, starts, call);
}

template int64_t scan_scratch<float>(const ScanParams<float>&, int);
template int64_t scan_scratch<double>(const ScanParams<double>&, int);
template void scan<float>(const ScanParams<float>&, const Call&);
template void scan<double>(const ScanParams<double>&, const Call&);
template int64_t count_hits_scratch<float>(const ScanHitsParams<float>&, int);
template int64_t count_hits_scratch<double>(const ScanHitsParams<double>&, int);
template void count_hits<float>(const ScanHitsParams<float>&, int64_t*, const Call&);
template void count_hits<double>(const ScanHitsParams<double>&, int64_t*, const Call&);
template int64_t write_hits_scratch<float>(const ScanHitsParams<float>&, int);
template int64_t write_hits_scratch<double>(const ScanHitsParams<double>&, int);
template void write_hits<float>(const ScanHitsParams<float>&, const int64_t*, const Call&);
template void write_hits<double>(const ScanHitsParams<double>&, const int64_t*, const Call&);

}  // namespace motifkit::cuda
