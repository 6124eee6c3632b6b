// A few threads for work that nobody waits for at once, such as compiling.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace ssm::metal {

// Any thread may call `push`. Threads start with the first jobs.
class BackgroundThreads {
 public:
  explicit BackgroundThreads(size_t most) : most_(most) {}

  // Drops the jobs that have not begun, and waits for those that have.
  ~BackgroundThreads() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      jobs_.clear();
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  // Jobs begin in the order of these calls. They must not throw.
  void push(std::function<void()> job) {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
    if (idle_ < jobs_.size() && threads_.size() < most_) {
      start();
    }
    wake_.notify_one();
  }

 private:
  // Where the system starts no more threads, those that there are do all the work.
  void start() {
    try {
      threads_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
      if (!threads_.empty()) return;
      jobs_.pop_back();
      throw;
    }
  }

  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      idle_ += 1;
      wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
      idle_ -= 1;
      if (stopping_) return;
      std::function<void()> job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
      job = nullptr;  // what it holds may take its time to go
      lock.lock();
    }
  }

  const size_t most_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  size_t idle_ = 0;  // threads that wait for a job
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace ssm::metal
