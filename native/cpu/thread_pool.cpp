#include "thread_pool.h"

#include <algorithm>

namespace ssm {

namespace {

// Below this many arithmetic operations a loop stays on one thread: about what a wake-up costs.
constexpr size_t kWorthSharing = 100'000;
// Parts a thread: more than one, so that a thread that was descheduled does not hold up the rest.
constexpr size_t kPartsPerThread = 8;
// A part ends at about this many operations, so that cancelling takes a few milliseconds at most.
constexpr size_t kLargestPart = 20'000'000;

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

void ThreadPool::parallel_for(size_t count, size_t cost,
                              const std::function<void(size_t, size_t)>& body) {
  if (count == 0) return;
  cost = std::max<size_t>(cost, 1);
  const bool alone = workers_.empty() || count == 1 || count * cost < kWorthSharing;
  const size_t parts = alone ? 1 : threads() * kPartsPerThread;
  part_ = std::clamp<size_t>(kLargestPart / cost, 1, (count + parts - 1) / parts);
  count_ = count;
  body_ = &body;
  next_ = 0;
  error_ = nullptr;
  if (!alone) {
    {
      std::lock_guard lock(mutex_);
      busy_ = static_cast<unsigned>(workers_.size());
      generation_ += 1;
    }
    wake_.notify_all();
  }
  take_parts();
  if (!alone) {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return busy_ == 0; });
  }
  if (error_) std::rethrow_exception(error_);
  if (cancelled_ && *cancelled_) throw Cancelled{};
}

void ThreadPool::take_parts() {
  try {
    while (!(cancelled_ && *cancelled_)) {
      const size_t begin = next_.fetch_add(part_);
      if (begin >= count_) return;
      (*body_)(begin, std::min(begin + part_, count_));
    }
  } catch (...) {
    std::lock_guard lock(mutex_);
    if (!error_) error_ = std::current_exception();
    next_ = count_;
  }
}

void ThreadPool::work() {
  unsigned seen = 0;
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [&] { return stopping_ || generation_ != seen; });
    if (stopping_) return;
    seen = generation_;
    lock.unlock();
    take_parts();
    lock.lock();
    if (--busy_ == 0) done_.notify_one();
  }
}

}  // namespace ssm
