// Runs that a GPU works on, or that wait to be reported, and the watch over them.
//
// The commands of a run go to the GPU in one or more command buffers. The run is reported when all
// of them have ended, and fails when one of them did; runs are reported in the order in which they
// began. A GPU that has ended none of its command buffers for too long is given up: all its runs
// are reported, and it gets no others. A command buffer may end long after that, or never: whoever
// waits for its end holds what the GPU uses.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "native/device.h"

namespace ssm::metal {

// Any thread may call any function.
class RunsInFlight {
 public:
  // `limit`: seconds that a command buffer may take from when the one before it has ended, by a
  // clock that stands still while the system sleeps.
  explicit RunsInFlight(double limit);
  ~RunsInFlight();
  RunsInFlight(const RunsInFlight&) = delete;
  RunsInFlight& operator=(const RunsInFlight&) = delete;

  // The next run. False when it was reported at once, because this GPU was given up or `close` was
  // called: then nothing else is called for it.
  bool begin(std::shared_ptr<Run> run);

  // Waits until the GPU has few enough command buffers to take another. False when the run needs no
  // more of them: it was cancelled, one of them failed, or it has been reported.
  bool wait_for_turn(const Run& run);

  // The next command buffer of a run is about to be committed. Returns its number.
  size_t commit(const Run& run);
  // It has ended, well or with a failure.
  void ended(const Run& run, size_t number, std::optional<Failure> failure);

  // The run gets no more command buffers. `failure`: what kept it from getting all of them.
  void encoded(const Run& run, std::optional<Failure> failure = std::nullopt);

  // Reports all runs as abandoned, whatever the GPU still does, and waits for nothing but our own
  // thread. No run is reported afterwards.
  void close();

 private:
  struct Entry {
    std::shared_ptr<Run> run;
    size_t commits = 0;
    size_t ends = 0;
    bool is_encoded = false;
    size_t failed = 0;  // number of the first command buffer that failed, where there is a failure
    std::optional<Failure> failure;
  };

  // The mutex is held in all of these.
  Entry* find(const Run& run);
  bool has_stopped() const { return is_closed_ || is_lost_; }
  void report_what_has_ended();
  void report_all(RunStatus status, const Failure& failure);
  void watch();

  const double limit_;
  std::mutex mutex_;
  std::condition_variable room_;  // there may be room for a command buffer
  std::condition_variable wake_;  // of the watch
  std::deque<Entry> entries_;
  size_t on_gpu_ = 0;         // command buffers
  double last_progress_ = 0;  // when one ended, or came to an idle GPU
  bool is_watch_idle_ = false;
  bool is_closed_ = false;
  bool is_lost_ = false;
  std::thread watch_;  // last: it starts when everything above exists
};

}  // namespace ssm::metal
