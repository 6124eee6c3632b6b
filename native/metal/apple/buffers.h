// Metal buffers over the very pages of our memory.
#pragma once

#include <memory>
#include <mutex>

#include "apple.h"
#include "memory.h"
#include "residency.h"

namespace ssm::apple {

// Any thread may call any function.
class Buffers {
 public:
  explicit Buffers(id<MTLDevice> device);

  // The buffer over the pages of a Memory, made at first use and dropped with the Memory. The pages
  // live on until the GPU, too, has let go of them. Throws when the GPU cannot map them.
  id<MTLBuffer> buffer_of(Memory& memory);

  Residency& residency() { return *residency_; }

 private:
  id<MTLBuffer> wrap(const Memory& memory);

  id<MTLDevice> device_;
  std::shared_ptr<Residency> residency_;
  std::mutex mutex_;
};

}  // namespace ssm::apple
