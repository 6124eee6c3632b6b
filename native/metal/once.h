// Values that are made once for each key, however many threads ask at a time.
#pragma once

#include <condition_variable>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "native/failure.h"

namespace ssm::metal {

// Any thread may call any function. Values are kept as long as this lives.
template <class Key, class Value>
class Once {
 public:
  // The value of a key. The first thread to ask makes it by `make(key)`, with no lock held; those
  // that ask meanwhile wait. What `make` throws all of them get, as Failed; who asks later makes it
  // anew, for the fault may have been one of the moment.
  template <class Make>
  Value get(const Key& key, Make make) {
    std::unique_lock lock(mutex_);
    const auto [entry, is_first] = values_.try_emplace(key);
    if (is_first) entry->second = std::make_shared<Slot>();
    const std::shared_ptr<Slot> slot = entry->second;
    if (is_first) {
      lock.unlock();
      fill(*slot, key, make);
      lock.lock();
      slot->is_done = true;
      if (slot->failure) values_.erase(key);
      done_.notify_all();
    }
    done_.wait(lock, [&] { return slot->is_done; });
    if (slot->failure) throw Failed(*slot->failure);
    return slot->value;
  }

 private:
  struct Slot {
    bool is_done = false;
    Value value{};
    std::optional<Failure> failure;
  };

  template <class Make>
  static void fill(Slot& slot, const Key& key, Make& make) {
    try {
      slot.value = make(key);
    } catch (const std::exception&) {
      slot.failure = caught_failure();
    }
  }

  std::mutex mutex_;
  std::condition_variable done_;
  std::map<Key, std::shared_ptr<Slot>> values_;
};

}  // namespace ssm::metal
