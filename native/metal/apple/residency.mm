#include "residency.h"

namespace ssm::apple {

Residency::Residency(id<MTLDevice> device) {
#ifdef SSM_MACOS_15_SDK
  if (@available(macOS 15.0, *)) {
    set_ = [device newResidencySetWithDescriptor:[MTLResidencySetDescriptor new] error:nil];
  }
#endif
  (void)device;
}

void Residency::serve(id<MTLCommandQueue> queue) {
#ifdef SSM_MACOS_15_SDK
  if (@available(macOS 15.0, *)) {
    if (set_ != nil) [queue addResidencySet:set_];
  }
#endif
  (void)queue;
}

void Residency::add(id<MTLBuffer> buffer) {
#ifdef SSM_MACOS_15_SDK
  if (@available(macOS 15.0, *)) {
    const std::lock_guard lock(mutex_);
    const id<MTLResidencySet> set = set_;
    [set addAllocation:buffer];
    [set commit];
    [set requestResidency];
  }
#endif
  (void)buffer;
}

void Residency::remove(id<MTLBuffer> buffer) {
#ifdef SSM_MACOS_15_SDK
  if (@available(macOS 15.0, *)) {
    const std::lock_guard lock(mutex_);
    const id<MTLResidencySet> set = set_;
    [set removeAllocation:buffer];
    [set commit];
  }
#endif
  (void)buffer;
}

}  // namespace ssm::apple
