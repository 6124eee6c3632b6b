// A fixed number of threads that share one loop at a time. Used by the device's own thread only;
// that thread works too, so a pool of N keeps N - 1 others.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace ssm {

// Thrown out of parallel_for when the run was cancelled.
struct Cancelled {};

// A token is a hundred loops of a few microseconds, and putting a thread to sleep and waking it
// costs more than many of them. So workers look for the next loop for a while before they sleep,
// unless somebody else wants their core. A loop is done when its parts are:
// a worker that another program keeps from running holds nobody up unless it has begun a part.
class ThreadPool {
 public:
  explicit ThreadPool(unsigned threads);
  ~ThreadPool();

  unsigned threads() const { return static_cast<unsigned>(workers_.size()) + 1; }

  // Calls body(begin, end) over [0, count), each index once, on all threads. `cost` is a rough
  // number of arithmetic operations, or bytes read, an index: small loops run on the calling
  // thread. Rethrows the first exception of a body. Throws Cancelled when *cancelled is set, at the
  // latest after one part of the loop.
  template <class Body>
  void parallel_for(size_t count, size_t cost, const Body& body) {
    run(count, cost, {&body, [](const void* context, size_t begin, size_t end) {
                        (*static_cast<const Body*>(context))(begin, end);
                      }});
  }

  // For long bodies: throws Cancelled when the run was cancelled.
  void throw_if_cancelled() const {
    if (cancelled_ && *cancelled_) throw Cancelled{};
  }

  // The flag that parallel_for watches; set for the length of a run by the device.
  void watch(const std::atomic<bool>* cancelled) { cancelled_ = cancelled; }

 private:
  // A reference to the body of a loop.
  struct Call {
    const void* context;
    void (*function)(const void* context, size_t begin, size_t end);
  };

  void run(size_t count, size_t cost, Call body);
  void work();
  bool take_part();
  void stop();

  std::vector<std::thread> workers_;

  // The current loop. Written by the device's thread while no part is left or unfinished, read by
  // those that have taken a part.
  Call body_{};
  size_t count_ = 0;
  size_t part_ = 0;  // indices in a part
  int64_t parts_ = 0;
  const std::atomic<bool>* cancelled_ = nullptr;
  // Parts that nobody has taken; below 0 when several threads reached for the last one.
  alignas(64) std::atomic<int64_t> left_{0};
  alignas(64) std::atomic<int64_t> unfinished_{0};
  std::atomic<bool> failed_{false};  // error_ is set: parts that are left are skipped

  std::mutex mutex_;
  std::condition_variable wake_;  // of workers
  std::condition_variable done_;  // of the device's thread
  std::atomic<unsigned> sleeping_{0};
  std::atomic<bool> waiting_{false};
  std::atomic<bool> stopping_{false};
  std::exception_ptr error_;
};

}  // namespace ssm
