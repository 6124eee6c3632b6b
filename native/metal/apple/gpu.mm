#include "native/metal/apple/gpu.h"

#include <mutex>
#include <stdexcept>

namespace ssm::apple {

std::shared_ptr<Gpu> Gpu::shared() {
  static std::mutex mutex;
  static std::weak_ptr<Gpu> current;  // gone with its last user
  const std::lock_guard lock(mutex);
  std::shared_ptr<Gpu> gpu = current.lock();
  if (!gpu) {
    const id<MTLDevice> device = MTLCreateSystemDefaultDevice();
    if (device == nil) throw std::runtime_error("[metal] this Mac has no GPU that Metal can use");
    current = gpu = std::make_shared<Gpu>(device);
  }
  return gpu;
}

Gpu::Gpu(id<MTLDevice> device) : device_(device), buffers_(device), pipelines_(device) {
  limits_.max_threads = static_cast<uint32_t>(device.maxThreadsPerThreadgroup.width);
  limits_.threadgroup_memory = static_cast<uint32_t>(device.maxThreadgroupMemoryLength);
}

DeviceMemory Gpu::memory() const {
  return {.budget = device_.recommendedMaxWorkingSetSize,
          .in_use = device_.currentAllocatedSize,
          .largest_buffer = device_.maxBufferLength};
}

id<MTLCommandQueue> Gpu::make_queue() {
  const id<MTLCommandQueue> queue = [device_ newCommandQueue];
  if (queue == nil) throw std::runtime_error("[metal] the GPU gives no command queue");
  buffers_.residency().serve(queue);
  return queue;
}

}  // namespace ssm::apple
