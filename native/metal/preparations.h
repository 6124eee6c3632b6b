// Lists that a device was asked to prepare and that are not ready yet.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "native/device.h"

namespace ssm::metal {

// Held by a shared_ptr: what compiles may outlive the device. Any thread may call any function.
class Preparations {
 public:
  using Done = std::function<void(RunEnd)>;
  // To be called when the list is ready, or with what is wrong with it.
  using Ready = std::function<void(std::optional<Failure>)>;

  // `done` is called once, before `cancel` has returned or never.
  static Ready begin(const std::shared_ptr<Preparations>& self, Done done) {
    const std::lock_guard lock(self->mutex_);
    const uint64_t number = self->next_++;
    self->waiting_.emplace(number, std::move(done));
    return [self, number](std::optional<Failure> failure) {
      const std::lock_guard lock(self->mutex_);
      const auto found = self->waiting_.find(number);
      if (found == self->waiting_.end()) return;
      found->second(failure ? RunEnd::fail(*std::move(failure)) : RunEnd{});
      self->waiting_.erase(found);
    };
  }

  // Reports those that wait as cancelled, in the order of their beginning.
  void cancel() {
    const std::lock_guard lock(mutex_);
    for (auto& [number, done] : waiting_) done(RunEnd::cancel());
    waiting_.clear();
  }

 private:
  std::mutex mutex_;
  uint64_t next_ = 0;
  std::map<uint64_t, Done> waiting_;
};

}  // namespace ssm::metal
