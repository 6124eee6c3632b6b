// Metal buffers over the very pages of our memory.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>

#include "native/memory.h"
#include "native/metal/apple/apple.h"
#include "native/metal/apple/residency.h"
#include "native/metal/views.h"

namespace ssm::apple {

// Any thread may call any function.
class Buffers {
 public:
  explicit Buffers(id<MTLDevice> device);

  // `bytes` bytes of a memory from `offset` on: the offset in the buffer that has them all.
  struct Part {
    id<MTLBuffer> buffer;
    size_t offset;
  };
  // Buffers over the pages of a Memory are made at first use and dropped with the Memory. The pages
  // live on until the GPU, too, has let go of them. There is one for all of the memory, unless it
  // is a file above the GPU's largest buffer: then overlapping views (views.h). Metal sees no
  // hazards between these, which only what is never written can bear. Throws when the GPU cannot
  // map the bytes.
  Part part_of(Memory& memory, size_t offset, size_t bytes);

  // Bytes of the buffers of a memory. Throws when the GPU cannot map it.
  size_t footprint(const Memory& memory) const;

  Residency& residency() { return *residency_; }

 private:
  id<MTLBuffer> wrap(const Memory& memory, const metal::View& view) const;
  metal::Views views_of(const Memory& memory) const;
  [[noreturn]] void throw_too_large(size_t bytes) const;

  id<MTLDevice> device_;
  std::shared_ptr<Residency> residency_;
  std::mutex mutex_;
};

}  // namespace ssm::apple
