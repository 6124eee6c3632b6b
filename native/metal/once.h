// Values that are made once for each key, however many threads ask at a time.
#pragma once

#include <condition_variable>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>

namespace ssm::metal {

// Any thread may call any function. Values are kept as long as this lives.
template <class Key, class Value>
class Once {
 public:
  // The value of a key. The first thread to ask makes it by `make(key)`, with no lock held; those
  // that ask meanwhile wait. What `make` throws all of them get, as std::runtime_error with its
  // message; who asks later makes it anew, for the fault may have been one of the moment.
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
      if (!slot->error.empty()) values_.erase(key);
      done_.notify_all();
    }
    done_.wait(lock, [&] { return slot->is_done; });
    if (!slot->error.empty()) throw std::runtime_error(slot->error);
    return slot->value;
  }

 private:
  struct Slot {
    bool is_done = false;
    Value value{};
    std::string error;
  };

  template <class Make>
  static void fill(Slot& slot, const Key& key, Make& make) {
    try {
      slot.value = make(key);
    } catch (const std::exception& error) {
      slot.error = error.what();
    }
  }

  std::mutex mutex_;
  std::condition_variable done_;
  std::map<Key, std::shared_ptr<Slot>> values_;
};

}  // namespace ssm::metal
