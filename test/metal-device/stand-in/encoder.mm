// What is encoded becomes commands; whatever a dispatch lacks or has too much is refused.
#include <algorithm>

#include "bindings.h"
#include "objects.h"
#include "system.h"

using namespace metal_stand_in;
using ssm::metal::Dispatch;

namespace {

struct Encoder {
  explicit Encoder(id buffer) : command_buffer(buffer) {}

  id command_buffer;
  bool has_ended = false;
  id pipeline = nil;
  // Since the last dispatch: what an earlier one was given does not count.
  std::map<NSUInteger, std::pair<id, NSUInteger>> buffers;  // and offset
  std::map<NSUInteger, std::vector<std::byte>> bytes;
  std::map<NSUInteger, NSUInteger> threadgroup_memory;
};

ssm::metal::Size size_of(const MTLSize &size) {
  return {static_cast<uint32_t>(size.width), static_cast<uint32_t>(size.height),
          static_cast<uint32_t>(size.depth)};
}

void check_sizes(const Kernel &kernel, const MTLSize &threadgroups, const MTLSize &threads) {
  const char *name = kernel.info->name;
  const NSUInteger count = threads.width * threads.height * threads.depth;
  if (count == 0 || count > kernel.max_threads) {
    misuse("%s: %lu threads in a threadgroup, of at most %lu", name, count, kernel.max_threads);
  }
  if (kernel.is_promised_whole && count % software_metal::kLanes != 0) {
    misuse("%s: %lu threads in a threadgroup, but whole simdgroups of %u were promised", name,
           count, software_metal::kLanes);
  }
  if (threadgroups.width * threadgroups.height * threadgroups.depth == 0) {
    misuse("%s: a grid without threadgroups", name);
  }
}

void add_threadgroup_memory(const Encoder &encoder, const char *kernel,
                            const software_metal::ArgumentInfo &argument, Dispatch &dispatch) {
  const auto length = encoder.threadgroup_memory.find(argument.index);
  if (length == encoder.threadgroup_memory.end()) {
    misuse("%s: threadgroup memory %u has no length", kernel, argument.index);
  }
  dispatch.threadgroup_memory.push_back({argument.index, static_cast<uint32_t>(length->second)});
}

void add_bytes(const std::vector<std::byte> &bytes, const char *kernel,
               const software_metal::ArgumentInfo &argument, Dispatch &dispatch) {
  if (argument.bytes != 0 && argument.bytes != bytes.size()) {
    misuse("%s: buffer %u (%s) has %u bytes but is given %zu", kernel, argument.index,
           argument.name, argument.bytes, bytes.size());
  }
  if (argument.is_written) {
    misuse("%s: buffer %u (%s) is written but has the bytes of an encoder", kernel, argument.index,
           argument.name);
  }
  dispatch.params_index = argument.index;
  dispatch.params = bytes;
}

// Where the arguments end, which Metal's API does not say: as far as the program of the device
// goes, else to the end of the memory.
void set_ends(Command &command) {
  Dispatch &dispatch = command.dispatch;
  for (auto &[index, binding, written] : dispatch.buffers) {
    const std::byte *address = binding.memory->data() + binding.offset;
    const size_t bytes = argument_bytes(dispatch.kernel, index, binding.memory->data(),
                                        binding.offset, dispatch.params);
    if (bytes > binding.bytes) {
      misuse("%s: buffer %u has %zu bytes of the %zu that it needs", dispatch.kernel.c_str(), index,
             binding.bytes, bytes);
    }
    if (bytes == 0) command.is_exact = false;
    const size_t mapped = bytes == 0 ? mapped_bytes(address) : bytes;
    if (mapped != 0) binding.bytes = std::min(binding.bytes, mapped);
  }
  if (!command.is_exact) controls().inexact_dispatches += 1;
}

bool is_absent(const Kernel &kernel, const software_metal::ArgumentInfo &argument) {
  return std::any_of(kernel.constants.begin(), kernel.constants.end(), [&](const auto &constant) {
    return argument.only_if != nullptr && constant.name == argument.only_if && constant.value == 0;
  });
}

}  // namespace

@interface StandInEncoder : NSObject <MTLComputeCommandEncoder>
@end
@implementation StandInEncoder
- (Encoder &)open:(const char *)what {
  auto &encoder = state<Encoder>(self);
  if (encoder.has_ended) misuse("%s after endEncoding", what);
  return encoder;
}
- (CommandBuffer &)commandBuffer {
  return state<CommandBuffer>(state<Encoder>(self).command_buffer);
}
- (void)setComputePipelineState:(id<MTLComputePipelineState>)pipeline {
  Encoder &encoder = [self open:"setComputePipelineState"];
  [self commandBuffer].use(pipeline);
  encoder.pipeline = pipeline;
}
- (void)setBuffer:(id<MTLBuffer>)buffer offset:(NSUInteger)offset atIndex:(NSUInteger)index {
  Encoder &encoder = [self open:"setBuffer"];
  if (index >= kMostBuffers) misuse("setBuffer: index %lu is beyond 30", index);
  if (buffer != nil && offset >= state<Buffer>(buffer).length) {
    misuse("setBuffer: offset %lu is beyond the buffer of %zu bytes", offset,
           state<Buffer>(buffer).length);
  }
  if (buffer != nil) [self commandBuffer].use(buffer);
  encoder.buffers[index] = {buffer, offset};
}
- (void)setBytes:(const void *)bytes length:(NSUInteger)length atIndex:(NSUInteger)index {
  Encoder &encoder = [self open:"setBytes"];
  if (index >= kMostBuffers) misuse("setBytes: index %lu is beyond 30", index);
  if (length > 4096) misuse("setBytes: %lu bytes are more than 4 KiB", length);
  const auto *begin = static_cast<const std::byte *>(bytes);
  encoder.bytes[index] = {begin, begin + length};
}
- (void)setThreadgroupMemoryLength:(NSUInteger)length atIndex:(NSUInteger)index {
  Encoder &encoder = [self open:"setThreadgroupMemoryLength"];
  if (index >= kMostBuffers) misuse("setThreadgroupMemoryLength: index %lu is beyond 30", index);
  if (length % 16 != 0 || length == 0) {
    misuse("threadgroup memory of %lu bytes: not a multiple of 16", length);
  }
  encoder.threadgroup_memory[index] = length;
}
- (void)memoryBarrierWithScope:(MTLBarrierScope)scope {
  [self open:"memoryBarrierWithScope"];
  if (scope != MTLBarrierScopeBuffers) misuse("a barrier that does not order buffers");
  [self commandBuffer].commands.push_back({});
}
- (void)dispatchThreadgroups:(MTLSize)threadgroups threadsPerThreadgroup:(MTLSize)threads {
  Encoder &encoder = [self open:"dispatchThreadgroups"];
  if (encoder.pipeline == nil) misuse("a dispatch without pipeline");
  const Kernel &kernel = state<Kernel>(encoder.pipeline);
  const char *name = kernel.info->name;
  check_sizes(kernel, threadgroups, threads);
  size_t threadgroup_bytes = 0;
  for (const auto &[index, bytes] : encoder.threadgroup_memory) threadgroup_bytes += bytes;
  if (threadgroup_bytes > kThreadgroupMemory) {
    misuse("%s: %zu bytes of threadgroup memory, of at most %zu", name, threadgroup_bytes,
           kThreadgroupMemory);
  }
  Command command;
  command.kernel = kernel.info;
  Dispatch &dispatch = command.dispatch;
  dispatch.kernel = name;
  dispatch.constants = kernel.constants;
  dispatch.threadgroups = size_of(threadgroups);
  dispatch.threads = size_of(threads);
  std::set<NSUInteger> known_buffers, known_memory;
  for (unsigned i = 0; i < kernel.info->argument_count; ++i) {
    const software_metal::ArgumentInfo &argument = kernel.info->arguments[i];
    (argument.is_threadgroup ? known_memory : known_buffers).insert(argument.index);
    if (argument.is_threadgroup) {
      add_threadgroup_memory(encoder, name, argument, dispatch);
      continue;
    }
    const auto buffer = encoder.buffers.find(argument.index);
    const auto bytes = encoder.bytes.find(argument.index);
    const bool has_buffer = buffer != encoder.buffers.end() && buffer->second.first != nil;
    const bool has_bytes = bytes != encoder.bytes.end();
    if (has_buffer && has_bytes) {
      misuse("%s: buffer %u (%s) is given twice", name, argument.index, argument.name);
    }
    if (has_bytes) {
      add_bytes(bytes->second, name, argument, dispatch);
    } else if (has_buffer) {
      [self addBuffer:buffer->second.first offset:buffer->second.second to:argument of:dispatch];
    } else if (!is_absent(kernel, argument)) {
      misuse("%s: buffer %u (%s) is not bound", name, argument.index, argument.name);
    }
  }
  for (const auto &[index, given] : encoder.buffers) {
    if (known_buffers.count(index) == 0) misuse("%s: has no buffer %lu", name, index);
  }
  for (const auto &[index, given] : encoder.bytes) {
    if (known_buffers.count(index) == 0) misuse("%s: has no buffer %lu", name, index);
  }
  for (const auto &[index, given] : encoder.threadgroup_memory) {
    if (known_memory.count(index) == 0) misuse("%s: has no threadgroup memory %lu", name, index);
  }
  set_ends(command);
  [self commandBuffer].commands.push_back(std::move(command));
  encoder.pipeline = nil;
  encoder.buffers.clear();
  encoder.bytes.clear();
  encoder.threadgroup_memory.clear();
}
- (void)addBuffer:(id)object
           offset:(NSUInteger)offset
               to:(const software_metal::ArgumentInfo &)argument
               of:(Dispatch &)dispatch {
  const Buffer &held = state<Buffer>(object);
  if (offset % argument.alignment != 0) {
    misuse("%s: buffer %u (%s) begins at byte %lu, which is not a multiple of %u",
           dispatch.kernel.c_str(), argument.index, argument.name, offset, argument.alignment);
  }
  auto memory = std::make_shared<ssm::Memory>(
      std::shared_ptr<std::byte>(held.begin, [](std::byte *) {}), held.length);
  dispatch.buffers.push_back(
      {argument.index, {memory, offset, held.length - offset}, argument.is_written});
  Use &use = [self commandBuffer].uses[object];
  (argument.is_written ? use.is_written : use.is_read) = true;
}
- (void)endEncoding {
  Encoder &encoder = [self open:"endEncoding"];
  encoder.has_ended = true;
  [self commandBuffer].is_encoding = false;
}
- (void)dealloc {
  auto &encoder = state<Encoder>(self);
  if (!encoder.has_ended) misuse("an encoder is released before endEncoding");
  objc_release(encoder.command_buffer);
  [super dealloc];
}
@end

namespace metal_stand_in {

id make_encoder(id command_buffer) {
  return with_state<Encoder>([StandInEncoder alloc], objc_retain(command_buffer));
}

}  // namespace metal_stand_in
