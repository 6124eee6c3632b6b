// The blocks of runs (run_block.h), one for each run under way.
#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "native/memory.h"

namespace ssm::metal {

// A block comes back when whoever took it lets go of it, so that after the first few runs none is
// made or mapped for the GPU. Any thread may call any function; a block may outlive the pool.
class BlockPool {
 public:
  std::shared_ptr<Memory> take() {
    std::shared_ptr<Memory> block = blocks_->take();
    Memory* memory = block.get();
    const std::weak_ptr<Free> home = blocks_;
    return {memory, [home, block = std::move(block)](Memory*) mutable {
              if (const auto blocks = home.lock()) blocks->add(std::move(block));
            }};
  }

 private:
  class Free {
   public:
    std::shared_ptr<Memory> take() {
      const std::lock_guard lock(mutex_);
      if (blocks_.empty()) return Memory::allocate_run_block();
      std::shared_ptr<Memory> block = std::move(blocks_.back());
      blocks_.pop_back();
      return block;
    }
    void add(std::shared_ptr<Memory> block) {
      const std::lock_guard lock(mutex_);
      blocks_.push_back(std::move(block));
    }

   private:
    std::mutex mutex_;
    std::vector<std::shared_ptr<Memory>> blocks_;
  };

  std::shared_ptr<Free> blocks_ = std::make_shared<Free>();
};

}  // namespace ssm::metal
