#include "native/read_bandwidth.h"

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace ssm {

namespace {

using Clock = std::chrono::steady_clock;
using Vector = uint64_t __attribute__((vector_size(16)));

constexpr size_t kLine = 64;                   // bytes of a cache line
constexpr size_t kStreams = 4;                 // of each thread
constexpr size_t kPrefetch = 16 * kLine;       // bytes ahead
constexpr size_t kPiece = size_t{1} << 20;     // bytes of a stream between two looks at the clock
constexpr size_t kHugePage = size_t{2} << 20;  // bytes
constexpr std::chrono::milliseconds kWindow{80};  // length of one sample
constexpr size_t kSamples = 5;

struct FreeDeleter {
  void operator()(std::byte* memory) const { std::free(memory); }
};
using Buffer = std::unique_ptr<std::byte, FreeDeleter>;

Buffer allocate(size_t bytes) {
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(kHugePage, bytes));
  if (!memory)
    throw std::runtime_error("not enough memory for a buffer of " + std::to_string(bytes) +
                             " bytes");
#ifdef __linux__
  // With small pages the misses of the TLB would be part of the measurement. Only advice.
  madvise(memory, bytes, MADV_HUGEPAGE);
#endif
  return Buffer(memory);
}

// Reads `length` bytes at `offset` of each of kStreams streams that lie `stride` bytes apart. One
// stream would leave it to the hardware prefetcher alone to keep enough loads in flight.
Vector read(const std::byte* data, size_t stride, size_t offset, size_t length) {
  Vector sums[kStreams] = {};
  for (size_t i = offset; i < offset + length; i += kLine) {
    for (size_t stream = 0; stream < kStreams; ++stream) {
      const std::byte* line = data + stream * stride + i;
      __builtin_prefetch(line + kPrefetch);
      const auto* vectors = reinterpret_cast<const Vector*>(line);
      sums[stream] ^= vectors[0] ^ vectors[1] ^ vectors[2] ^ vectors[3];
    }
  }
  return sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
}

// Bytes a second of all threads together, the median of several samples.
double measure(unsigned threads, size_t bytes, const std::atomic<bool>& cancelled) {
  const size_t unit = threads * kStreams * kPiece;
  bytes = std::max(bytes / unit, size_t{1}) * unit;
  const size_t share = bytes / threads;    // of a thread
  const size_t stride = share / kStreams;  // of a stream
  const Buffer buffer = allocate((bytes + kHugePage - 1) / kHugePage * kHugePage);

  // rates[thread][sample]
  std::vector<std::vector<double>> rates(threads, std::vector<double>(kSamples));
  std::atomic<uint64_t> sink{0};  // so that no compiler leaves the loads out
  std::atomic<bool> failed{false};
  std::barrier together(threads);
  const auto stopped = [&] { return cancelled || failed; };
  const auto work = [&](unsigned thread) {
    const std::byte* data = buffer.get() + thread * share;
    // Each thread touches its part first, so that the pages are near it. Pages of zeros that were
    // never written would be one page in the cache.
    for (size_t i = 0; i < share && !stopped(); i += kPiece) {
      std::memset(buffer.get() + thread * share + i, 1, kPiece);
    }
    Vector sum = {};
    for (double& rate : rates[thread]) {
      together.arrive_and_wait();
      const auto start = Clock::now();
      auto now = start;
      size_t done = 0;
      size_t offset = 0;
      while (now - start < kWindow && !stopped()) {
        sum ^= read(data, stride, offset, kPiece);
        done += kStreams * kPiece;
        offset = (offset + kPiece) % stride;
        now = Clock::now();
      }
      rate = static_cast<double>(done) / std::chrono::duration<double>(now - start).count();
    }
    sink += sum[0] ^ sum[1];
  };
  std::vector<std::thread> others;
  others.reserve(threads);
  const auto join = [&] {
    for (std::thread& other : others) other.join();
  };
  try {
    for (unsigned thread = 1; thread < threads; ++thread) others.emplace_back(work, thread);
  } catch (...) {
    // The system has no more threads: those that did start must not wait for the rest.
    failed = true;
    for (size_t missing = others.size(); missing < threads; ++missing) together.arrive_and_drop();
    join();
    throw;
  }
  work(0);
  join();
  if (cancelled) throw std::runtime_error("the environment has ended");

  std::vector<double> totals(kSamples);
  for (const auto& of_thread : rates) {
    for (size_t i = 0; i < kSamples; ++i) totals[i] += of_thread[i];
  }
  std::nth_element(totals.begin(), totals.begin() + kSamples / 2, totals.end());
  return totals[kSamples / 2];
}

}  // namespace

BandwidthMeasurement::BandwidthMeasurement(unsigned threads, size_t bytes, OnComplete on_complete)
    : thread_([this, threads, bytes, on_complete = std::move(on_complete)] {
        try {
          on_complete(measure(threads, bytes, cancelled_), std::nullopt);
        } catch (const std::system_error&) {
          // Starting a thread is all that throws this; its own text names none.
          on_complete(0, Failure{"the system starts no more threads: measure with fewer"});
        } catch (const std::exception&) {
          on_complete(0, caught_failure());
        }
      }) {}

BandwidthMeasurement::~BandwidthMeasurement() {
  cancelled_ = true;
  thread_.join();
}

}  // namespace ssm
