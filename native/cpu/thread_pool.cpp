#include "native/cpu/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace ssm {

namespace {

// Below this cost a loop stays on one thread: about what handing it over costs.
constexpr size_t kWorthSharing = 20'000;
// Parts a thread: more than one, so that a thread that was descheduled does not hold up the rest.
constexpr size_t kPartsPerThread = 8;
// A part ends at about this cost, so that cancelling takes a few milliseconds at most.
constexpr size_t kLargestPart = 20'000'000;
// How long a worker looks for work before it sleeps: longer than one thread takes to choose a token
// and JavaScript to ask for the next.
constexpr std::chrono::microseconds kPatience{500};

// Tells the core that this is a loop that waits.
void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");  // longer than `yield`, which does nothing on most cores
#endif
}

// A pause that is longer than this was another thread's turn on the core.
constexpr std::chrono::microseconds kInterrupted{20};

// Looks until ready() is true and returns true; false when it is better to sleep: after `patience`,
// or as soon as another thread wants the core.
template <class Ready>
bool spin(std::chrono::microseconds patience, const Ready& ready) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  for (auto last = start; last - start < patience;) {
    for (int i = 0; i < 32; ++i) {
      if (ready()) return true;
      pause();
    }
    std::this_thread::yield();
    const auto now = Clock::now();
    if (now - last > kInterrupted) return ready();
    last = now;
  }
  return false;
}

}  // namespace

ThreadPool::ThreadPool(unsigned threads) {
  workers_.reserve(threads - 1);
  try {
    for (unsigned i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  } catch (...) {
    stop();  // the system has no more threads: end those that did start
    throw;
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(size_t count, size_t cost, Call body) {
  if (count == 0) return;
  cost = std::max<size_t>(cost, 1);
  const bool alone = workers_.empty() || count == 1 || count * cost < kWorthSharing;
  const size_t parts = alone ? 1 : threads() * kPartsPerThread;
  body_ = body;
  count_ = count;
  part_ = std::clamp<size_t>(kLargestPart / cost, 1, (count + parts - 1) / parts);
  parts_ = static_cast<int64_t>((count + part_ - 1) / part_);
  if (alone) {
    for (size_t begin = 0; begin < count_; begin += part_) {
      throw_if_cancelled();
      body_.function(body_.context, begin, std::min(begin + part_, count_));
    }
    return throw_if_cancelled();
  }
  unfinished_ = parts_;
  left_ = parts_;
  // Either this sees the sleeper, or the sleeper sees what is left before it sleeps.
  if (sleeping_ > 0) {
    { const std::lock_guard lock(mutex_); }
    wake_.notify_all();
  }
  while (take_part()) {
  }
  if (!spin(kPatience, [this] { return unfinished_ == 0; })) {
    std::unique_lock lock(mutex_);
    waiting_ = true;
    done_.wait(lock, [this] { return unfinished_ == 0; });
    waiting_ = false;
  }
  if (failed_) {
    failed_ = false;
    std::rethrow_exception(std::exchange(error_, nullptr));
  }
  throw_if_cancelled();
}

// False when none is left.
bool ThreadPool::take_part() {
  if (left_.load() <= 0) return false;
  const int64_t left = left_.fetch_sub(1);
  if (left <= 0) return false;
  // From here to the last line the loop cannot end, so its description stays.
  try {
    if (!failed_ && !(cancelled_ && *cancelled_)) {
      const size_t begin = static_cast<size_t>(parts_ - left) * part_;
      body_.function(body_.context, begin, std::min(begin + part_, count_));
    }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    if (!failed_) error_ = std::current_exception();
    failed_ = true;
  }
  // Either this sees the waiter, or the waiter sees that all is done before it sleeps.
  if (unfinished_.fetch_sub(1) == 1 && waiting_) {
    { const std::lock_guard lock(mutex_); }
    done_.notify_one();
  }
  return true;
}

void ThreadPool::work() {
  while (true) {
    while (take_part()) {
    }
    if (!spin(kPatience, [this] { return left_ > 0 || stopping_; })) {
      std::unique_lock lock(mutex_);
      sleeping_ += 1;
      wake_.wait(lock, [this] { return stopping_ || left_ > 0; });
      sleeping_ -= 1;
    }
    if (stopping_) return;
  }
}

}  // namespace ssm
