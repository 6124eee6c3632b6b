#include "native/metal/runs_in_flight.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <utility>

#include "native/metal/uptime.h"

namespace ssm::metal {

namespace {

// Enough that the GPU never waits for the next one, and few enough that a run that was cancelled
// soon gives way. Metal itself makes a caller wait for the 65th.
constexpr size_t kMostCommandBuffers = 8;

// The end of a run that the GPU has computed, unless its kernels found bad data.
RunEnd end_of(const Run& run) {
  try {
    run.list->compiled->check_results();
  } catch (const std::exception&) {
    return RunEnd::fail(caught_failure());
  }
  return end_run(run);
}

Failure lost(double limit) {
  char seconds[32];
  std::snprintf(seconds, sizeof(seconds), "%g", limit);
  return {"[metal] the GPU has ended none of its work for " + std::string(seconds) +
          " s: this device is lost. Its runs and what they wrote are lost with it. Create another "
          "device, or load the model again; gpuTimeout sets the seconds"};
}

}  // namespace

RunsInFlight::RunsInFlight(double limit) : limit_(limit), watch_([this] { watch(); }) {}

RunsInFlight::~RunsInFlight() { close(); }

RunsInFlight::Entry* RunsInFlight::find(const Run& run) {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.run.get() == &run; });
  return found == entries_.end() ? nullptr : &*found;
}

bool RunsInFlight::begin(std::shared_ptr<Run> run) {
  const std::lock_guard lock(mutex_);
  if (is_closed_) {
    run->on_complete(RunEnd::cancel());
  } else if (is_lost_) {
    run->on_complete(RunEnd::fail(lost(limit_), RunStatus::device_lost));
  } else {
    entries_.push_back({});
    entries_.back().run = std::move(run);
    return true;
  }
  return false;
}

bool RunsInFlight::wait_for_turn(const Run& run) {
  std::unique_lock lock(mutex_);
  room_.wait(lock, [this] { return has_stopped() || on_gpu_ < kMostCommandBuffers; });
  const Entry* entry = find(run);
  return entry != nullptr && !entry->failure && !run.cancelled;
}

size_t RunsInFlight::commit(const Run& run) {
  const std::lock_guard lock(mutex_);
  if (on_gpu_ == 0) last_progress_ = uptime();
  on_gpu_ += 1;
  if (is_watch_idle_) wake_.notify_one();
  Entry* entry = find(run);
  return entry == nullptr ? 0 : entry->commits++;
}

void RunsInFlight::ended(const Run& run, size_t number, std::optional<Failure> failure) {
  const std::lock_guard lock(mutex_);
  on_gpu_ -= 1;
  last_progress_ = uptime();
  room_.notify_one();
  Entry* entry = find(run);
  if (entry == nullptr) return;
  entry->ends += 1;
  // What follows a command buffer that failed may fail for that reason.
  if (failure && (!entry->failure || number < entry->failed)) {
    entry->failure = std::move(failure);
    entry->failed = number;
  }
  report_what_has_ended();
}

void RunsInFlight::encoded(const Run& run, std::optional<Failure> failure) {
  const std::lock_guard lock(mutex_);
  Entry* entry = find(run);
  if (entry == nullptr) return;
  entry->is_encoded = true;
  if (failure && !entry->failure) {
    entry->failure = std::move(failure);
    entry->failed = entry->commits;
  }
  report_what_has_ended();
}

void RunsInFlight::report_what_has_ended() {
  while (!entries_.empty()) {
    Entry& first = entries_.front();
    if (!first.is_encoded || first.ends < first.commits) return;
    RunEnd end;
    if (first.failure) {
      // Of a run that never got to the GPU nothing is lost.
      const RunStatus status = first.commits > 0 ? RunStatus::device_failed : RunStatus::failed;
      end = RunEnd::fail(*std::move(first.failure), status);
    }
    // Also one that computed to its end: the GPU does not stop halfway.
    else if (first.run->cancelled)
      end = RunEnd::cancel();
    else
      end = end_of(*first.run);
    // The GPU is done with the block. Whoever hears of the end may start a run that takes it, while
    // the handler of the last command buffer still holds this one.
    first.run->block.reset();
    first.run->on_complete(std::move(end));
    entries_.pop_front();
  }
}

void RunsInFlight::report_all(RunStatus status, const Failure& failure) {
  for (const Entry& entry : entries_) entry.run->on_complete(RunEnd::fail(failure, status));
  entries_.clear();
  room_.notify_all();
}

void RunsInFlight::close() {
  {
    const std::lock_guard lock(mutex_);
    if (!is_closed_) {
      is_closed_ = true;
      report_all(RunStatus::abandoned, {});
    }
    wake_.notify_one();
  }
  if (watch_.joinable()) watch_.join();
}

// On a thread of its own. It sleeps while the GPU does; otherwise it looks from time to time.
void RunsInFlight::watch() {
  const std::chrono::duration<double> tick(std::min(1.0, limit_ / 4));
  std::unique_lock lock(mutex_);
  while (!has_stopped()) {
    is_watch_idle_ = on_gpu_ == 0;
    if (is_watch_idle_)
      wake_.wait(lock, [this] { return has_stopped() || on_gpu_ > 0; });
    else
      wake_.wait_for(lock, tick);
    if (has_stopped() || on_gpu_ == 0 || uptime() - last_progress_ <= limit_) continue;
    is_lost_ = true;
    report_all(RunStatus::device_lost, lost(limit_));
  }
}

}  // namespace ssm::metal
