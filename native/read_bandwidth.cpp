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

// One measurement by `threads` threads, this one among them.
class Measurement {
 public:
  Measurement(unsigned threads, size_t bytes, const std::atomic<bool>& cancelled)
      : threads_(threads),
        share_(std::max(bytes / (threads * kStreams * kPiece), size_t{1}) * kStreams * kPiece),
        buffer_(allocate((threads * share_ + kHugePage - 1) / kHugePage * kHugePage)),
        rates_(threads, std::vector<double>(kSamples)),
        together_(threads),
        cancelled_(cancelled) {}

  // Bytes a second of all threads together, the median of several samples.
  double run() {
    std::vector<std::thread> others;
    others.reserve(threads_);
    const auto join = [&] {
      for (std::thread& other : others) other.join();
    };
    try {
      for (unsigned thread = 1; thread < threads_; ++thread) {
        others.emplace_back(&Measurement::work, this, thread);
      }
    } catch (...) {
      // The system has no more threads: those that did start must not wait for the rest.
      failed_ = true;
      for (size_t missing = others.size(); missing < threads_; ++missing) {
        together_.arrive_and_drop();
      }
      join();
      throw;
    }
    work(0);
    join();
    if (cancelled_) throw std::runtime_error("the environment has ended");
    return median();
  }

 private:
  bool stopped() const { return cancelled_ || failed_; }

  // What each thread does: touches its part first, so that the pages are near it (pages of zeros
  // that were never written would be one page in the cache), and reads it in every sample.
  void work(unsigned thread) {
    std::byte* data = buffer_.get() + thread * share_;
    for (size_t i = 0; i < share_ && !stopped(); i += kPiece) std::memset(data + i, 1, kPiece);
    Vector sum = {};
    for (double& rate : rates_[thread]) {
      together_.arrive_and_wait();
      rate = take_sample(data, sum);
    }
    sink_ += sum[0] ^ sum[1];
  }

  // Bytes a second of one thread.
  double take_sample(const std::byte* data, Vector& sum) const {
    const size_t stride = share_ / kStreams;
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
    return static_cast<double>(done) / std::chrono::duration<double>(now - start).count();
  }

  double median() const {
    std::vector<double> totals(kSamples);
    for (const auto& of_thread : rates_) {
      for (size_t i = 0; i < kSamples; ++i) totals[i] += of_thread[i];
    }
    std::nth_element(totals.begin(), totals.begin() + kSamples / 2, totals.end());
    return totals[kSamples / 2];
  }

  const unsigned threads_;
  const size_t share_;  // bytes of a thread
  const Buffer buffer_;
  std::vector<std::vector<double>> rates_;  // (threads, samples)
  std::atomic<uint64_t> sink_{0};           // so that no compiler leaves the loads out
  std::atomic<bool> failed_{false};
  std::barrier<> together_;
  const std::atomic<bool>& cancelled_;
};

}  // namespace

BandwidthMeasurement::BandwidthMeasurement(unsigned threads, size_t bytes, OnComplete on_complete)
    : thread_([this, threads, bytes, on_complete = std::move(on_complete)] {
        try {
          on_complete(Measurement(threads, bytes, cancelled_).run(), std::nullopt);
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
