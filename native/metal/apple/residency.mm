#include "native/metal/apple/residency.h"

#include <utility>

namespace ssm::apple {

Residency::Residency(id<MTLDevice> device, Pace pace) : pace_(pace) {
#ifdef SSM_MACOS_15_SDK
  if (@available(macOS 15.0, *)) {
    set_ = [device newResidencySetWithDescriptor:[MTLResidencySetDescriptor new] error:nil];
  }
#endif
  (void)device;
  if (set_ != nil) thread_ = std::thread([this] { beat(); });
}

Residency::~Residency() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void Residency::serve(id<MTLCommandQueue> queue) {
#ifdef SSM_MACOS_15_SDK
  if (@available(macOS 15.0, *)) {
    if (set_ != nil) [queue addResidencySet:set_];
  }
#endif
  (void)queue;
}

void Residency::add(id<MTLBuffer> buffer) {
  if (set_ == nil) return;
  const std::lock_guard lock(mutex_);
  added_.push_back(buffer);
}

void Residency::remove(id<MTLBuffer> buffer) {
  if (set_ == nil) return;
  const std::lock_guard lock(mutex_);
  removed_.push_back(buffer);
  wake_.notify_one();
}

void Residency::before_run() {
  if (set_ == nil) return;
  bool was_idle;
  {
    const std::lock_guard lock(mutex_);
    was_idle = Clock::now() >= in_use_until_;
    in_use_until_ = Clock::now() + pace_.linger;
    if (!was_idle && added_.empty() && !is_adding_) return;
  }
  if (was_idle) wake_.notify_one();
  update(was_idle);  // a set that was idle may have been reclaimed
}

void Residency::let_go() {
  if (set_ == nil) return;
  {
    const std::lock_guard lock(mutex_);
    if (removed_.empty() && !is_removing_) return;
  }
  update(false);
}

void Residency::beat() {
  while (true) {
    bool in_use;
    {
      std::unique_lock lock(mutex_);
      const auto is_idle = [this] { return Clock::now() >= in_use_until_ && removed_.empty(); };
      wake_.wait(lock, [&] { return stopping_ || !is_idle(); });
      // Removals come in numbers: by the end of the beat they have all come.
      wake_.wait_for(lock, pace_.beat, [this] { return stopping_; });
      if (stopping_) return;
      in_use = Clock::now() < in_use_until_;
    }
    @autoreleasepool {
      update(in_use);
    }
  }
}

void Residency::update([[maybe_unused]] bool wanted) {
#ifdef SSM_MACOS_15_SDK
  if (@available(macOS 15.0, *)) {
    const std::lock_guard set_lock(set_mutex_);
    const id<MTLResidencySet> set = set_;
    std::vector<id<MTLBuffer>> added, removed;
    {
      const std::lock_guard lock(mutex_);
      added.swap(added_);
      removed.swap(removed_);
      is_adding_ = !added.empty();
      is_removing_ = !removed.empty();
    }
    for (const id<MTLBuffer> &buffer : added) [set addAllocation:buffer];
    for (const id<MTLBuffer> &buffer : removed) [set removeAllocation:buffer];
    if (!added.empty() || !removed.empty()) [set commit];
    {
      const std::lock_guard lock(mutex_);
      is_adding_ = is_removing_ = false;
    }
    if (wanted || !added.empty()) [set requestResidency];
  }
#endif
}

}  // namespace ssm::apple
