#include "buffers.h"

#include <unistd.h>

#include <stdexcept>
#include <string>

namespace ssm::apple {

namespace {

// What hangs on a Memory: a buffer over its very pages.
struct GpuView {
  GpuView(std::shared_ptr<Residency> set, id<MTLBuffer> view)
      : residency(std::move(set)), buffer(view) {
    residency->add(buffer);
  }
  ~GpuView() { residency->remove(buffer); }
  GpuView(const GpuView&) = delete;
  GpuView& operator=(const GpuView&) = delete;

  std::shared_ptr<Residency> residency;
  id<MTLBuffer> buffer;
};

}  // namespace

Buffers::Buffers(id<MTLDevice> device)
    : device_(device), residency_(std::make_shared<Residency>(device)) {}

id<MTLBuffer> Buffers::buffer_of(Memory& memory) {
  const std::lock_guard lock(mutex_);
  if (!memory.gpu_view) memory.gpu_view = std::make_shared<GpuView>(residency_, wrap(memory));
  return static_cast<GpuView*>(memory.gpu_view.get())->buffer;
}

id<MTLBuffer> Buffers::wrap(const Memory& memory) {
  if (memory.size() == 0) throw std::runtime_error("[metal] a tensor without bytes has no buffer");
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t length = (memory.size() + page - 1) / page * page;  // mappings are whole pages
  if (length > device_.maxBufferLength) {
    throw std::runtime_error(
        "[metal] a block of " + std::to_string(memory.size()) +
        " bytes is larger than the largest buffer of this GPU, " +
        std::to_string(device_.maxBufferLength) +
        " bytes: take a model that is split into several files or quantised, or device 'cpu'");
  }
  const std::shared_ptr<std::byte> pages = memory.pages();
  const id<MTLBuffer> buffer = [device_ newBufferWithBytesNoCopy:pages.get()
                                                          length:length
                                                         options:MTLResourceStorageModeShared
                                                     deallocator:^(void*, NSUInteger) {
                                                       (void)pages;  // held until here
                                                     }];
  if (buffer == nil) {
    throw std::runtime_error("[metal] not enough memory: the GPU cannot map " +
                             std::to_string(length) + " bytes");
  }
  return buffer;
}

}  // namespace ssm::apple
