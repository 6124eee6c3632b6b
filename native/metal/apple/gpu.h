// The GPU of this Mac, with what all devices of a process share.
#pragma once

#include <memory>
#include <string>

#include "native/device.h"
#include "native/metal/apple/buffers.h"
#include "native/metal/apple/pipelines.h"
#include "native/metal/program.h"

namespace ssm::apple {

// One in a process, so that two devices (two workers) compile each kernel once and a Memory needs
// one buffer. Any thread.
class Gpu {
 public:
  static std::shared_ptr<Gpu> shared();

  // Throws std::runtime_error where Metal has no GPU. Use `shared`.
  explicit Gpu(id<MTLDevice> device);

  const metal::Limits& limits() const { return limits_; }
  std::string name() const { return text_of(device_.name); }
  DeviceMemory memory() const;
  id<MTLCommandQueue> make_queue();

  Buffers& buffers() { return buffers_; }
  const Buffers& buffers() const { return buffers_; }
  Pipelines& pipelines() { return pipelines_; }

 private:
  id<MTLDevice> device_;
  metal::Limits limits_;
  Buffers buffers_;
  Pipelines pipelines_;
};

}  // namespace ssm::apple
