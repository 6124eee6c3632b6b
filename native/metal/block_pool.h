// The blocks of runs (run_block.h), one for each run under way.
#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "memory.h"

namespace ssm::metal {

// Blocks go back and forth, so that after the first few runs none is made or mapped for the GPU.
// Any thread may call any function.
class BlockPool {
 public:
  std::shared_ptr<Memory> take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return Memory::allocate_run_block();
    std::shared_ptr<Memory> block = std::move(free_.back());
    free_.pop_back();
    return block;
  }

  void give_back(std::shared_ptr<Memory> block) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(block));
  }

 private:
  std::mutex mutex_;
  std::vector<std::shared_ptr<Memory>> free_;
};

}  // namespace ssm::metal
