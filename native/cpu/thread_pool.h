// A fixed number of threads that share one loop at a time. Used by the device's own thread only;
// that thread works too, so a pool of N keeps N - 1 others.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace ssm {

// Thrown out of parallel_for when the run was cancelled.
struct Cancelled {};

class ThreadPool {
 public:
  explicit ThreadPool(unsigned threads);
  ~ThreadPool();

  unsigned threads() const { return static_cast<unsigned>(workers_.size()) + 1; }

  // Calls body(begin, end) over [0, count), each index once, on all threads. `cost` is a rough
  // number of arithmetic operations an index: small loops run on the calling thread, because
  // waking another costs more. Rethrows the first exception of a body. Throws Cancelled when
  // *cancelled is set, at the latest after one part of the loop.
  void parallel_for(size_t count, size_t cost, const std::function<void(size_t, size_t)>& body);

  // For long bodies: throws Cancelled when the run was cancelled.
  void throw_if_cancelled() const {
    if (cancelled_ && *cancelled_) throw Cancelled{};
  }

  // The flag that parallel_for watches; set for the length of a run by the device.
  void watch(const std::atomic<bool>* cancelled) { cancelled_ = cancelled; }

 private:
  void work();
  void take_parts();
  void stop();

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  bool stopping_ = false;
  unsigned generation_ = 0;  // counts loops, so that a worker takes part in each once
  unsigned busy_ = 0;        // workers still in the current loop
  std::exception_ptr error_;

  // The current loop.
  const std::function<void(size_t, size_t)>* body_ = nullptr;
  size_t count_ = 0;
  size_t part_ = 0;
  std::atomic<size_t> next_{0};
  const std::atomic<bool>* cancelled_ = nullptr;
};

}  // namespace ssm
