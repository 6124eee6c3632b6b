// The most float32 arithmetic that threads together do: independent multiply-adds on registers, as
// many as hide their latency, and no memory. Prints floating-point operations a second, two for
// each multiply-add, the median of several samples.
//
//   float-peak THREADS
//
// float-peak.ts compiles it with the options of the level that the CPU device uses.

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

#if defined(__AVX512F__)
constexpr size_t kBytes = 64;
constexpr size_t kSums = 24;  // of 32 registers
#elif defined(__AVX2__)
constexpr size_t kBytes = 32;
constexpr size_t kSums = 12;  // of 16
#else
constexpr size_t kBytes = 16;
constexpr size_t kSums = 24;
#endif
constexpr size_t kLanes = kBytes / sizeof(float);
using Vector = float __attribute__((vector_size(kBytes)));

constexpr size_t kSteps = 100'000;  // of all sums, between two looks at the clock
constexpr size_t kSamples = 9;
constexpr std::chrono::milliseconds kWindow{60};

// Towards 1, so that nothing overflows and nothing becomes denormal.
__attribute__((noinline)) Vector multiply_add(Vector factor, Vector addend) {
  Vector sums[kSums];
  for (size_t i = 0; i < kSums; ++i) sums[i] = addend * static_cast<float>(i);
  for (size_t step = 0; step < kSteps; ++step) {
#pragma GCC unroll 32
    for (size_t i = 0; i < kSums; ++i) sums[i] = sums[i] * factor + addend;
  }
  Vector total = sums[0];
  for (size_t i = 1; i < kSums; ++i) total += sums[i];
  return total;
}

double sample(volatile float& sink) {
  const auto start = Clock::now();
  auto now = start;
  size_t done = 0;
  while (now - start < kWindow) {
    // Always 0.5, which the compiler may not know: it would do the same arithmetic only once.
    const Vector half = Vector{} + (0.5f + 0 * sink);
    sink = multiply_add(half, half)[0];
    done += 2 * kSteps * kSums * kLanes;
    now = Clock::now();
  }
  return static_cast<double>(done) / std::chrono::duration<double>(now - start).count();
}

}  // namespace

int main(int count, char** arguments) {
  const int threads = count > 1 ? std::atoi(arguments[1]) : 0;
  if (threads < 1) {
    std::fprintf(stderr, "usage: float-peak THREADS\n");
    return 2;
  }
  std::vector<std::vector<double>> rates(threads, std::vector<double>(kSamples));
  std::barrier together(threads);
  std::vector<std::thread> workers;
  for (int thread = 0; thread < threads; ++thread) {
    workers.emplace_back([&, thread] {
      volatile float sink = 0;
      for (double& rate : rates[thread]) {
        together.arrive_and_wait();
        rate = sample(sink);
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  std::vector<double> totals(kSamples);
  for (const auto& of_thread : rates) {
    for (size_t i = 0; i < kSamples; ++i) totals[i] += of_thread[i];
  }
  std::nth_element(totals.begin(), totals.begin() + kSamples / 2, totals.end());
  std::printf("%.0f\n", totals[kSamples / 2]);
}
