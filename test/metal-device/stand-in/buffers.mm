// Buffers, and the set of those that stay resident.
#include <chrono>
#include <thread>

#include "objects.h"
#include "system.h"

using namespace metal_stand_in;

@interface StandInBuffer : NSObject <MTLBuffer>
@end
@implementation StandInBuffer
- (void)dealloc {
  check_unused(self, "a buffer");
  auto &buffer = state<Buffer>(self);
  forget_buffer(buffer.begin, buffer.length);
  if (buffer.release != nullptr) {
    buffer.release(buffer.begin, buffer.length);
    _Block_release(reinterpret_cast<void *>(buffer.release));
  }
  controls().buffer_bytes -= buffer.length;
  [super dealloc];
}
@end

@implementation MTLResidencySetDescriptor
@end

@interface StandInResidencySet : NSObject <MTLResidencySet>
@end
@implementation StandInResidencySet
- (void)addAllocation:(id)allocation {
  auto &set = state<ResidencySet>(self);
  const std::lock_guard lock(set.mutex);
  if (set.members.insert(allocation).second) objc_retain(allocation);
}
- (void)removeAllocation:(id)allocation {
  auto &set = state<ResidencySet>(self);
  {
    const std::lock_guard lock(set.mutex);
    if (set.members.erase(allocation) == 0) {
      misuse("removeAllocation: what is not in the residency set");
    }
  }
  objc_release(allocation);
}
- (void)commit {
  auto &set = state<ResidencySet>(self);
  uint64_t wanted = 1;
  if (controls().hold_commit.compare_exchange_strong(wanted, 2)) {
    while (controls().hold_commit != 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const std::lock_guard lock(set.mutex);
  set.committed = set.members;
  controls().residency_commits += 1;
}
- (void)requestResidency {
  auto &set = state<ResidencySet>(self);
  const std::lock_guard lock(set.mutex);
  if (set.committed != set.members) misuse("requestResidency before commit");
  controls().residency_requests += 1;
}
- (void)dealloc {
  for (id member : state<ResidencySet>(self).members) objc_release(member);
  [super dealloc];
}
@end

namespace metal_stand_in {

id make_buffer(void *pointer, NSUInteger length, MTLResourceOptions options,
               void (^release)(void *, NSUInteger)) {
  if (reinterpret_cast<size_t>(pointer) % kPage != 0 || length % kPage != 0 || length == 0) {
    misuse("newBufferWithBytesNoCopy: pointer and length must be multiples of the page");
  }
  if (options != MTLResourceStorageModeShared) misuse("memory without copy is shared memory");
  if (must_fail(controls().fail_buffers) || length > controls().max_buffer_length) return nil;
  controls().buffers_made += 1;
  note_buffer(static_cast<std::byte *>(pointer), length);
  const uint64_t bytes = controls().buffer_bytes += length;
  uint64_t most = controls().most_buffer_bytes;
  while (most < bytes && !controls().most_buffer_bytes.compare_exchange_weak(most, bytes)) {
  }
  return with_state<Buffer>([StandInBuffer alloc], static_cast<std::byte *>(pointer), length,
                            reinterpret_cast<void (^)(void *, NSUInteger)>(
                                _Block_copy(reinterpret_cast<void *>(release))));
}

id make_residency_set() { return with_state<ResidencySet>([StandInResidencySet alloc]); }

}  // namespace metal_stand_in
