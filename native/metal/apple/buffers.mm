#include "native/metal/apple/buffers.h"

#include <map>
#include <stdexcept>
#include <string>

#include "native/failure.h"

namespace ssm::apple {

namespace {

// What hangs on a Memory: buffers over its very pages, by where they begin and how long they are.
struct GpuViews {
  explicit GpuViews(std::shared_ptr<Residency> set) : residency(std::move(set)) {}
  ~GpuViews() {
    for (const auto& [place, buffer] : buffers) residency->remove(buffer);
  }
  GpuViews(const GpuViews&) = delete;
  GpuViews& operator=(const GpuViews&) = delete;

  std::shared_ptr<Residency> residency;
  std::map<std::pair<size_t, size_t>, id<MTLBuffer>> buffers;
};

}  // namespace

Buffers::Buffers(id<MTLDevice> device)
    : device_(device), residency_(std::make_shared<Residency>(device)) {}

Buffers::Part Buffers::part_of(Memory& memory, size_t offset, size_t bytes) {
  if (memory.size() == 0) throw std::runtime_error("[metal] a tensor without bytes has no buffer");
  const metal::View view = views_of(memory).of(offset, bytes);
  if (view.bytes == 0) throw_too_large(bytes);
  const std::lock_guard lock(mutex_);
  if (!memory.gpu_views) memory.gpu_views = std::make_shared<GpuViews>(residency_);
  auto& buffers = static_cast<GpuViews*>(memory.gpu_views.get())->buffers;
  const auto place = std::make_pair(view.begin, view.bytes);
  const auto known = buffers.find(place);
  if (known != buffers.end()) return {known->second, offset - view.begin};
  const id<MTLBuffer> buffer = wrap(memory, view);
  buffers.emplace(place, buffer);
  residency_->add(buffer);
  return {buffer, offset - view.begin};
}

size_t Buffers::footprint(const Memory& memory) const { return views_of(memory).total_bytes(); }

metal::Views Buffers::views_of(const Memory& memory) const {
  // Two buffers over the same pages have no order that Metal knows of.
  if (!memory.is_mapped_file() && page_bytes(memory.size()) > device_.maxBufferLength) {
    throw_too_large(memory.size());
  }
  return {memory.size(), memory.largest_part(), page_bytes(1), device_.maxBufferLength};
}

void Buffers::throw_too_large(size_t bytes) const {
  throw std::runtime_error("[metal] a tensor of " + std::to_string(bytes) +
                           " bytes is larger than the largest buffer of this GPU, " +
                           std::to_string(device_.maxBufferLength) +
                           " bytes: take a checkpoint of a smaller type or fewer bits, or device "
                           "'cpu'");
}

id<MTLBuffer> Buffers::wrap(const Memory& memory, const metal::View& view) const {
  const std::shared_ptr<std::byte> pages = memory.pages();
  const id<MTLBuffer> buffer = [device_ newBufferWithBytesNoCopy:pages.get() + view.begin
                                                          length:view.bytes
                                                         options:MTLResourceStorageModeShared
                                                     deallocator:^(void*, NSUInteger) {
                                                       (void)pages;  // held until here
                                                     }];
  if (buffer == nil) {
    throw Failed(FailureReason::out_of_memory, "[metal] not enough memory: the GPU cannot map " +
                                                   std::to_string(view.bytes) + " bytes");
  }
  return buffer;
}

}  // namespace ssm::apple
