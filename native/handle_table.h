// Integer handles for JavaScript. A handle is slot + generation * 2^24, a number that a double
// holds exactly; a handle that was released, made up or belongs to another table is an error, never
// a dangling pointer.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace ssm {

template <class T>
class HandleTable {
 public:
  explicit HandleTable(const char* noun) : noun_(noun) {}

  int64_t add(std::shared_ptr<T> object) {
    if (free_.empty()) {
      if (slots_.size() >= kMaxSlots) throw std::runtime_error("too many live handles");
      free_.push_back(static_cast<uint32_t>(slots_.size()));
      slots_.emplace_back();
    }
    const uint32_t index = free_.back();
    free_.pop_back();
    slots_[index].object = std::move(object);
    return static_cast<int64_t>(slots_[index].generation) * kMaxSlots + index;
  }

  const std::shared_ptr<T>& get(int64_t handle) const { return slots_[index_of(handle)].object; }

  std::shared_ptr<T> remove(int64_t handle) {
    const size_t index = index_of(handle);
    std::shared_ptr<T> object = std::move(slots_[index].object);
    slots_[index].object.reset();
    slots_[index].generation += 1;
    free_.push_back(static_cast<uint32_t>(index));
    return object;
  }

  // Releases every object. Only at the end of an environment: handles could be given out again.
  void clear() {
    free_.clear();
    slots_.clear();
  }

 private:
  static constexpr int64_t kMaxSlots = int64_t{1} << 24;
  struct Slot {
    uint32_t generation = 1;  // so that 0 is never a handle
    std::shared_ptr<T> object;
  };

  size_t index_of(int64_t handle) const {
    const int64_t index = handle % kMaxSlots;
    if (handle <= 0 || index >= static_cast<int64_t>(slots_.size()) ||
        slots_[index].generation != handle / kMaxSlots || !slots_[index].object) {
      throw std::invalid_argument(std::string(noun_) + " was disposed or never existed");
    }
    return static_cast<size_t>(index);
  }

  const char* noun_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
};

}  // namespace ssm
