// The queue of a device: one thread takes runs in order, so that the JavaScript thread never waits.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "native/device.h"

namespace ssm {

class RunQueue {
 public:
  using Start = std::function<void(const std::shared_ptr<Run>&)>;

  // `start` is called on the queue's thread, once for each run. It must not throw. It sees to it
  // that the run is reported: before it returns, or later where something else computes meanwhile.
  explicit RunQueue(Start start) : start_(std::move(start)), thread_([this] { work(); }) {}

  // Cancels what is queued and what `start` is busy with, starts the rest of the queue, and joins
  // the thread.
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
      if (queue_.empty()) return;  // stopping, and everything queued was started
      current_ = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      start_(current_);
      lock.lock();
      current_.reset();
    }
  }

  Start start_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Run>> queue_;
  std::shared_ptr<Run> current_;
  bool stopping_ = false;
  std::thread thread_;  // last: it starts when everything above exists
};

}  // namespace ssm
