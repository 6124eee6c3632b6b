// Runs that a GPU works on, or that wait to be reported.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>

#include "device.h"

namespace ssm::metal {

// Any thread may call any function.
class RunsInFlight {
 public:
  void begin(std::shared_ptr<Run> run) {
    const std::lock_guard lock(mutex_);
    runs_.push_back({std::move(run), {}, false});
  }

  // A run has ended. Runs are reported in the order in which they began,
  // so this one waits for those before it. One that was cancelled is reported as such even when it
  // computed to its end: the GPU does not stop halfway.
  void finish(const Run& run, RunEnd end) {
    const std::lock_guard lock(mutex_);
    const auto ended = std::find_if(runs_.begin(), runs_.end(),
                                    [&](const Entry& entry) { return entry.run.get() == &run; });
    ended->has_ended = true;
    ended->end = std::move(end);
    while (!runs_.empty() && runs_.front().has_ended) {
      Entry& first = runs_.front();
      if (first.run->cancelled) first.end = RunEnd::cancel();
      first.run->on_complete(std::move(first.end));
      runs_.pop_front();
    }
    if (runs_.empty()) none_left_.notify_all();
  }

  // Marks all runs as cancelled and waits until the last one has been reported.
  void cancel_and_wait() {
    std::unique_lock lock(mutex_);
    for (const Entry& entry : runs_) entry.run->cancelled = true;
    none_left_.wait(lock, [this] { return runs_.empty(); });
  }

 private:
  struct Entry {
    std::shared_ptr<Run> run;
    RunEnd end;
    bool has_ended;
  };

  std::mutex mutex_;
  std::condition_variable none_left_;
  std::deque<Entry> runs_;
};

}  // namespace ssm::metal
