// Command buffers and their queue: what may be done in which order.
#include <algorithm>

#include "objects.h"

using namespace metal_stand_in;

namespace metal_stand_in {

namespace {

// Objects that command buffers use which do not retain them.
struct Borrowed {
  std::mutex mutex;
  std::map<id, int> uses;
};
Borrowed &borrowed() {
  static auto *instance = new Borrowed;  // never destroyed: the GPU's thread outlives main()
  return *instance;
}

// Metal orders command buffers by the buffers that they share. It does not know of two buffers over
// the same pages.
bool share_a_hazard(const CommandBuffer &a, const CommandBuffer &b) {
  return std::any_of(a.uses.begin(), a.uses.end(), [&](const auto &used) {
    const auto other = b.uses.find(used.first);
    return other != b.uses.end() && (used.second.is_written || other->second.is_written);
  });
}

void check_views(const CommandBuffer &earlier, const CommandBuffer &now) {
  if (share_a_hazard(earlier, now)) return;
  for (const auto &[a, use_of_a] : earlier.uses) {
    for (const auto &[b, use_of_b] : now.uses) {
      const Buffer &x = state<Buffer>(a), &y = state<Buffer>(b);
      if (a == b || (!use_of_a.is_written && !use_of_b.is_written)) continue;
      if (x.begin >= y.begin + y.length || y.begin >= x.begin + x.length) continue;
      misuse("two buffers over the same pages, of which one is written, in command buffers that "
             "nothing orders");
    }
  }
}

// A queue that has residency sets keeps in them all that its command buffers use.
void check_residency(const Queue &queue, const CommandBuffer &buffer) {
  if (queue.sets.empty()) return;
  for (const auto &[object, use] : buffer.uses) {
    const id wanted = object;
    const bool is_resident = std::any_of(queue.sets.begin(), queue.sets.end(), [&](id set) {
      auto &residency = state<ResidencySet>(set);
      const std::lock_guard lock(residency.mutex);
      return residency.committed.count(wanted) != 0;
    });
    if (!is_resident) misuse("a buffer that is in no residency set of the queue, or not committed");
  }
}

void close(CommandBuffer &buffer) {
  if (!buffer.is_open) return;
  buffer.is_open = false;
  auto &queue = state<Queue>(buffer.queue);
  const std::lock_guard lock(queue.mutex);
  queue.open_command_buffers -= 1;
  queue.closed.notify_all();
}

}  // namespace

void check_unused(id object, const char *what) {
  const std::lock_guard lock(borrowed().mutex);
  if (borrowed().uses.count(object) != 0) {
    misuse("%s is released while a command buffer that does not retain it uses it", what);
  }
}

CommandBuffer::CommandBuffer(id from, bool retains) : queue(from), retains_references(retains) {}

CommandBuffer::~CommandBuffer() {
  release_objects();
  close(*this);
  for (void *handler : handlers) _Block_release(handler);
  objc_release(error);
  objc_release(queue);
}

void CommandBuffer::use(id object) {
  if (!objects.insert(object).second) return;
  if (retains_references) {
    objc_retain(object);
    return;
  }
  const std::lock_guard lock(borrowed().mutex);
  borrowed().uses[object] += 1;
}

void CommandBuffer::release_objects() {
  {
    auto &from = state<Queue>(queue);
    const std::lock_guard lock(from.mutex);
    from.in_flight.erase(std::remove(from.in_flight.begin(), from.in_flight.end(), this),
                         from.in_flight.end());
  }
  commands.clear();
  uses.clear();
  for (id object : objects) {
    if (retains_references) {
      objc_release(object);
      continue;
    }
    const std::lock_guard lock(borrowed().mutex);
    if (--borrowed().uses[object] == 0) borrowed().uses.erase(object);
  }
  objects.clear();
}

void complete(id object, id error) {
  auto &buffer = state<CommandBuffer>(object);
  buffer.error = error;
  buffer.status = error == nil ? MTLCommandBufferStatus(4) : MTLCommandBufferStatusError;
  buffer.release_objects();
  close(buffer);
  for (void *handler : buffer.handlers) {
    reinterpret_cast<MTLCommandBufferHandler>(handler)(object);
  }
  for (void *handler : buffer.handlers) _Block_release(handler);
  buffer.handlers.clear();
  controls().command_buffers_done += 1;
}

}  // namespace metal_stand_in

@interface StandInCommandBuffer : NSObject <MTLCommandBuffer>
@end
@implementation StandInCommandBuffer
- (id<MTLComputeCommandEncoder>)computeCommandEncoderWithDispatchType:(MTLDispatchType)type {
  auto &buffer = state<CommandBuffer>(self);
  if (buffer.is_committed) misuse("an encoder of a command buffer that was committed");
  if (buffer.is_encoding) misuse("an encoder while another one encodes");
  if (type != MTLDispatchTypeConcurrent) misuse("the stand-in has concurrent encoders only");
  if (!must_fail(controls().spare_encoders) && must_fail(controls().fail_encoders)) return nil;
  buffer.is_encoding = true;
  return objc_autorelease(make_encoder(self));
}
- (void)addCompletedHandler:(MTLCommandBufferHandler)handler {
  auto &buffer = state<CommandBuffer>(self);
  if (buffer.is_committed) misuse("addCompletedHandler after commit");
  buffer.handlers.push_back(_Block_copy(reinterpret_cast<const void *>(handler)));
}
- (void)commit {
  auto &buffer = state<CommandBuffer>(self);
  if (buffer.is_committed) misuse("commit twice");
  if (buffer.is_encoding) misuse("commit before endEncoding");
  buffer.is_committed = true;
  buffer.status = MTLCommandBufferStatus(2);
  auto &queue = state<Queue>(buffer.queue);
  const std::lock_guard lock(queue.mutex);
  check_residency(queue, buffer);
  for (const CommandBuffer *earlier : queue.in_flight) check_views(*earlier, buffer);
  queue.in_flight.push_back(&buffer);
  push_to_gpu(objc_retain(self));
}
- (MTLCommandBufferStatus)status {
  return state<CommandBuffer>(self).status;
}
- (NSError *)error {
  return state<CommandBuffer>(self).error;
}
@end

@interface StandInQueue : NSObject <MTLCommandQueue>
@end
@implementation StandInQueue
// As on a Mac, waits while there are 64 that have not completed.
- (id)make:(bool)retains {
  auto &queue = state<Queue>(self);
  std::unique_lock lock(queue.mutex);
  queue.closed.wait(lock, [&] { return queue.open_command_buffers < kMostCommandBuffers; });
  queue.open_command_buffers += 1;
  lock.unlock();
  return objc_autorelease(
      with_state<CommandBuffer>([StandInCommandBuffer alloc], objc_retain(self), retains));
}
- (id<MTLCommandBuffer>)commandBuffer {
  return [self make:true];
}
- (id<MTLCommandBuffer>)commandBufferWithUnretainedReferences {
  return [self make:false];
}
- (void)addResidencySet:(id<MTLResidencySet>)set {
  // The queue retains it, and what it has.
  auto &queue = state<Queue>(self);
  const std::lock_guard lock(queue.mutex);
  queue.sets.push_back(objc_retain(set));
}
- (void)dealloc {
  for (id set : state<Queue>(self).sets) objc_release(set);
  [super dealloc];
}
@end

namespace metal_stand_in {

id make_queue() {
  if (must_fail(controls().fail_queues)) return nil;
  return with_state<Queue>([StandInQueue alloc], options_of_environment());
}

}  // namespace metal_stand_in
