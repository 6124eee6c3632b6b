// Keeps buffers resident between runs where the system can (macOS 15), so that a run need not make
// them so.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "native/metal/apple/apple.h"

namespace ssm::apple {

// One set for all buffers. What is added takes effect at the next run, in one commit and one
// request, however many buffers there are. The system reclaims sets that nobody has asked for of
// late, so a thread of its own repeats the request while runs come, and for a while after the last
// one; it also commits removals, so that a model that was disposed of is let go of even when no run
// follows. Nothing waits for that thread except the destructor, which ends it at once.
//
// Any thread may call any function; `add` and `remove` only take notes, because a request may take
// long. Before macOS 15 nothing happens: everything works, only slower.
class Residency {
 public:
  struct Pace {
    std::chrono::milliseconds beat{500};      // from one request to the next
    std::chrono::milliseconds linger{60000};  // after the start of the last run
  };

  explicit Residency(id<MTLDevice> device) : Residency(device, Pace{}) {}
  Residency(id<MTLDevice> device, Pace pace);
  ~Residency();

  // Command buffers of this queue use the set from now on.
  void serve(id<MTLCommandQueue> queue);
  void add(id<MTLBuffer> buffer);
  void remove(id<MTLBuffer> buffer);
  // Comes before each commit of a command buffer.
  void before_run();
  // Lets go of what was removed: comes before buffers for something new, so that what the loading
  // of a model needed does not count beside what its sequences need.
  void let_go();

 private:
  using Clock = std::chrono::steady_clock;

  void beat();  // of the thread, until stopping_
  // Brings the set up to date where anything changed, and makes the request where `wanted` or where
  // anything was added.
  void update(bool wanted);

  const Pace pace_;
  std::mutex set_mutex_;           // before mutex_
  [[maybe_unused]] id set_ = nil;  // an MTLResidencySet, which macOS 14 has no name for

  std::mutex mutex_;
  std::vector<id<MTLBuffer>> added_, removed_;  // that no commit has taken yet
  // A commit has taken some and is not over: who needs it waits for set_mutex_.
  bool is_adding_ = false, is_removing_ = false;
  Clock::time_point in_use_until_{};
  bool stopping_ = false;
  std::condition_variable wake_;
  std::thread thread_;  // last: it uses everything above
};

}  // namespace ssm::apple
