// The queue of a device that computes on the CPU: one thread takes runs in order.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "device.h"

namespace ssm {

class RunQueue {
 public:
  // `execute` is called on the queue's thread, once for each run, and returns its error or "".
  explicit RunQueue(std::function<std::string(const Run&)> execute)
      : execute_(std::move(execute)), thread_([this] { work(); }) {}

  // Cancels what is queued and what runs, reports it, and joins the thread.
  ~RunQueue() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      if (current_) current_->cancelled = true;
      for (auto& run : queue_) run->cancelled = true;
    }
    wake_.notify_one();
    thread_.join();
  }

  void push(std::shared_ptr<Run> run) {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(std::move(run));
    }
    wake_.notify_one();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;  // stopping, and everything queued was reported
      current_ = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      std::string error = execute_(*current_);
      current_->on_complete(std::move(error));
      lock.lock();
      current_.reset();
    }
  }

  std::function<std::string(const Run&)> execute_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Run>> queue_;
  std::shared_ptr<Run> current_;
  bool stopping_ = false;
  std::thread thread_;  // last: it starts when everything above exists
};

}  // namespace ssm
