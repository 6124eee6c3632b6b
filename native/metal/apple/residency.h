// Keeps buffers resident between runs where the system can (macOS 15), so that a run need not make
// them so.
#pragma once

#include <mutex>

#include "apple.h"

namespace ssm::apple {

// Any thread may call any function. Before macOS 15 nothing happens: everything works, only slower.
class Residency {
 public:
  explicit Residency(id<MTLDevice> device);

  // Command buffers of this queue use the set from now on.
  void serve(id<MTLCommandQueue> queue);
  void add(id<MTLBuffer> buffer);
  void remove(id<MTLBuffer> buffer);

 private:
  std::mutex mutex_;
  [[maybe_unused]] id set_ = nil;  // an MTLResidencySet, which macOS 14 has no name for
};

}  // namespace ssm::apple
