// A stand-in for Apple's Metal on Linux: enough of its API to run native/metal/metal_device.mm,
// over the rig's runtime (test/software-metal/runtime.h). It is stricter than a Mac: what Metal
// leaves undefined, or says only with validation switched on, ends the process with a message here.
// Not ARC. One thread plays the GPU: it takes committed command buffers in order, and tells of
// their end a little later.
#import <Metal/Metal.h>

#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "kernel_context.h"
#include "metal_stand_in.h"
#include "objc_runtime.h"
#include "runtime.h"

using metal_stand_in::controls;
using objc_runtime::state;
using objc_runtime::with_state;
using ssm::metal::Dispatch;

extern "C" id objc_runtime_allocate(Class isa);
extern "C" void objc_runtime_free(id object);

namespace {

[[noreturn]] [[gnu::format(printf, 1, 2)]] void misuse(const char *format, ...) {
  std::fputs("Metal: ", stderr);
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fputs("\n", stderr);
  std::abort();
}

// Whether one of the next few must fail.
bool must_fail(std::atomic<uint64_t> &count) {
  uint64_t left = count;
  while (left > 0 && !count.compare_exchange_weak(left, left - 1)) {
  }
  return left > 0;
}

constexpr size_t kThreadgroupMemory = 32 * 1024;
constexpr NSUInteger kMostBuffers = 31;

// ---- what the objects hold ----

struct Buffer {
  std::byte *begin;
  size_t length;
  void (^release)(void *, NSUInteger);
};

struct ConstantValues {
  std::map<NSUInteger, std::pair<MTLDataType, uint32_t>> values;
};

struct CompileOptions {
  MTLLanguageVersion language = MTLLanguageVersion(0);
  bool fast_math = true;
  MTLMathMode mode = MTLMathMode(2);
  MTLMathFloatingPointFunctions functions = MTLMathFloatingPointFunctions(0);
};

struct Library {
  std::string source;
};

// A kernel with its constants; a pipeline is the same, made ready.
struct Kernel {
  const software_metal::KernelInfo *info;
  std::vector<ssm::metal::Constant> constants;
  NSUInteger max_threads;
};

struct PipelineDescriptor {
  id function = nil;
  NSUInteger max_threads = 0;
};

// A dispatch, or where `kernel` is null a barrier.
struct Command {
  const software_metal::KernelInfo *kernel = nullptr;
  Dispatch dispatch;
};

struct CommandBuffer {
  explicit CommandBuffer(id from) : queue(from) {}

  id queue;
  bool is_encoding = false, is_committed = false;
  std::vector<Command> commands;
  std::vector<id> retained;      // buffers
  std::vector<void *> handlers;  // blocks
  MTLCommandBufferStatus status = MTLCommandBufferStatus(0);
  id error = nil;

  ~CommandBuffer() {
    for (id object : retained) objc_release(object);
    for (void *handler : handlers) _Block_release(handler);
    objc_release(error);
    objc_release(queue);
  }
};

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

struct ResidencySet {
  std::set<id> members, committed;
};

// ---- the GPU ----

// Memory that dispatches since the last barrier have touched.
struct Touched {
  const char *kernel;
  const std::byte *begin, *end;
  bool written;
};

void note(const Dispatch &dispatch, const software_metal::Traffic &traffic,
          std::vector<Touched> &touched) {
  for (const auto &argument : dispatch.buffers) {
    if (argument.index != traffic.index) continue;
    const std::byte *base = argument.binding.memory->data() + argument.binding.offset;
    for (const bool written : {false, true}) {
      const software_metal::Range range = written ? traffic.written_range : traffic.read_range;
      if (range.end == 0) continue;
      const Touched now{dispatch.kernel.c_str(), base + range.begin, base + range.end, written};
      touched.push_back(now);
    }
  }
}

// Nothing orders dispatches between two barriers.
void check_order(const std::vector<Touched> &earlier, const std::vector<Touched> &now) {
  for (const Touched &a : earlier) {
    for (const Touched &b : now) {
      if ((!a.written && !b.written) || a.begin >= b.end || b.begin >= a.end) continue;
      misuse("%s and %s touch the same memory but there is no barrier between them", a.kernel,
             b.kernel);
    }
  }
}

std::string execute(const std::vector<Command> &commands) {
  std::vector<Touched> touched;
  for (const Command &command : commands) {
    if (command.kernel == nullptr) {
      touched.clear();
      controls().barriers += 1;
      continue;
    }
    try {
      std::vector<Touched> now;
      for (const auto &traffic : software_metal::execute(command.dispatch, {})) {
        note(command.dispatch, traffic, now);
      }
      check_order(touched, now);
      touched.insert(touched.end(), now.begin(), now.end());
    } catch (const std::exception &error) {
      return error.what();
    }
    controls().dispatches_done += 1;
  }
  return "";
}

id make_error(const std::string &text);

void run(id object) {
  auto &buffer = state<CommandBuffer>(object);
  std::string error;
  if (must_fail(controls().fail_command_buffers)) {
    error = "Caused GPU Address Fault Error (injected)";
  } else {
    error = execute(buffer.commands);
  }
  if (!error.empty()) buffer.error = make_error(error);
  buffer.status = error.empty() ? MTLCommandBufferStatus(4) : MTLCommandBufferStatusError;
  // A Mac's handlers run later too, on a thread of their own.
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  for (void *handler : buffer.handlers) {
    reinterpret_cast<MTLCommandBufferHandler>(handler)(object);
  }
  controls().command_buffers_done += 1;
}

// Never destroyed: its thread ends with the process.
class GpuThread {
 public:
  static GpuThread &instance() {
    static auto *gpu = new GpuThread;
    return *gpu;
  }

  // Takes over a reference.
  void push(id command_buffer) {
    const std::lock_guard lock(mutex_);
    queue_.push_back(command_buffer);
    wake_.notify_one();
  }

 private:
  GpuThread() {
    std::thread([this] { work(); }).detach();
  }

  [[noreturn]] void work() {
    while (true) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return !queue_.empty(); });
      const id next = queue_.front();
      queue_.pop_front();
      lock.unlock();
      @autoreleasepool {
        run(next);
        objc_release(next);
      }
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<id> queue_;
};

}  // namespace

// ---- Foundation ----

@implementation NSObject
+ (instancetype)alloc {
  return objc_runtime_allocate(self);
}
+ (instancetype)new {
  return [[self alloc] init];
}
- (instancetype)init {
  return self;
}
- (void)dealloc {
  objc_runtime_free(self);
}
@end

@implementation NSString
+ (instancetype)stringWithUTF8String:(const char *)text {
  return objc_autorelease(with_state<std::string>([NSString alloc], text));
}
- (const char *)UTF8String {
  return state<std::string>(self).c_str();
}
@end

@implementation NSError
- (NSString *)localizedDescription {
  return [NSString stringWithUTF8String:state<std::string>(self).c_str()];
}
@end

namespace {

id make_error(const std::string &text) { return with_state<std::string>([NSError alloc], text); }

void give(NSError **target, const std::string &text) {
  if (target != nullptr) *target = objc_autorelease(make_error(text));
}

}  // namespace

// ---- Metal ----

@implementation MTLCompileOptions
+ (instancetype)alloc {
  return with_state<CompileOptions>([super alloc]);
}
- (MTLLanguageVersion)languageVersion {
  return state<CompileOptions>(self).language;
}
- (void)setLanguageVersion:(MTLLanguageVersion)version {
  state<CompileOptions>(self).language = version;
}
- (BOOL)fastMathEnabled {
  return state<CompileOptions>(self).fast_math;
}
- (void)setFastMathEnabled:(BOOL)enabled {
  state<CompileOptions>(self).fast_math = enabled;
}
- (MTLMathMode)mathMode {
  return state<CompileOptions>(self).mode;
}
- (void)setMathMode:(MTLMathMode)mode {
  state<CompileOptions>(self).mode = mode;
}
- (MTLMathFloatingPointFunctions)mathFloatingPointFunctions {
  return state<CompileOptions>(self).functions;
}
- (void)setMathFloatingPointFunctions:(MTLMathFloatingPointFunctions)functions {
  state<CompileOptions>(self).functions = functions;
}
@end

@implementation MTLComputePipelineDescriptor
+ (instancetype)alloc {
  return with_state<PipelineDescriptor>([super alloc]);
}
- (id<MTLFunction>)computeFunction {
  return state<PipelineDescriptor>(self).function;
}
- (void)setComputeFunction:(id<MTLFunction>)function {
  id before = state<PipelineDescriptor>(self).function;
  state<PipelineDescriptor>(self).function = objc_retain(function);
  objc_release(before);
}
- (NSUInteger)maxTotalThreadsPerThreadgroup {
  return state<PipelineDescriptor>(self).max_threads;
}
- (void)setMaxTotalThreadsPerThreadgroup:(NSUInteger)threads {
  state<PipelineDescriptor>(self).max_threads = threads;
}
- (void)dealloc {
  objc_release(state<PipelineDescriptor>(self).function);
  [super dealloc];
}
@end

@implementation MTLFunctionConstantValues
+ (instancetype)alloc {
  return with_state<ConstantValues>([super alloc]);
}
- (void)setConstantValue:(const void *)value type:(MTLDataType)type atIndex:(NSUInteger)index {
  uint32_t copy = 0;
  if (type == MTLDataTypeBool) {
    copy = *static_cast<const bool *>(value);
  } else {
    std::memcpy(&copy, value, sizeof(copy));
  }
  state<ConstantValues>(self).values[index] = {type, copy};
}
@end

@implementation MTLResidencySetDescriptor
@end

@interface StandInBuffer : NSObject <MTLBuffer>
@end
@implementation StandInBuffer
- (void)dealloc {
  auto &buffer = state<Buffer>(self);
  if (buffer.release != nullptr) {
    buffer.release(buffer.begin, buffer.length);
    _Block_release(reinterpret_cast<void *>(buffer.release));
  }
  [super dealloc];
}
@end

@interface StandInResidencySet : NSObject <MTLResidencySet>
@end
@implementation StandInResidencySet
- (void)addAllocation:(id)allocation {
  auto &members = state<ResidencySet>(self).members;
  if (members.insert(allocation).second) objc_retain(allocation);
}
- (void)removeAllocation:(id)allocation {
  if (state<ResidencySet>(self).members.erase(allocation) == 0) {
    misuse("removeAllocation: what is not in the residency set");
  }
  objc_release(allocation);
}
- (void)commit {
  state<ResidencySet>(self).committed = state<ResidencySet>(self).members;
}
- (void)requestResidency {
  if (state<ResidencySet>(self).committed != state<ResidencySet>(self).members) {
    misuse("requestResidency before commit");
  }
}
- (void)dealloc {
  for (id member : state<ResidencySet>(self).members) objc_release(member);
  [super dealloc];
}
@end

@interface StandInFunction : NSObject <MTLFunction>
@end
@implementation StandInFunction
@end

@interface StandInPipeline : NSObject <MTLComputePipelineState>
@end
@implementation StandInPipeline
- (NSUInteger)maxTotalThreadsPerThreadgroup {
  return state<Kernel>(self).max_threads;
}
- (NSUInteger)staticThreadgroupMemoryLength {
  return 0;
}
@end

// Whether the text has the function of a kernel, whose name the kernel's host name begins with.
static bool defines(const std::string &source, const std::string &kernel) {
  for (size_t end = kernel.size(); end != std::string::npos; end = kernel.rfind('_', end - 1)) {
    if (source.find("void " + kernel.substr(0, end) + "(") != std::string::npos) return true;
    if (end == 0) break;
  }
  return false;
}

@interface StandInLibrary : NSObject <MTLLibrary>
@end
@implementation StandInLibrary
- (id<MTLFunction>)newFunctionWithName:(NSString *)name
                        constantValues:(MTLFunctionConstantValues *)values
                                 error:(NSError **)error {
  const std::string kernel = name.UTF8String;
  const std::string &source = state<Library>(self).source;
  const auto *info = software_metal::find_kernel(kernel);
  if (info == nullptr || !defines(source, kernel)) {
    give(error, "Function " + kernel + " was not found in the library");
    return nil;
  }
  Kernel result{info, {}, 0};
  for (unsigned i = 0; i < info->constant_count; ++i) {
    const software_metal::ConstantInfo &constant = info->constants[i];
    const auto &given = state<ConstantValues>(values).values;
    const auto value = given.find(constant.index);
    const MTLDataType type = constant.bytes == 1 ? MTLDataTypeBool : MTLDataTypeUInt;
    if (value == given.end() || value->second.first != type) {
      give(error, "Function constant " + std::string(constant.name) + " of " + kernel +
                      " is not set, or to another type");
      return nil;
    }
    result.constants.push_back({constant.index, value->second.second});
  }
  return with_state<Kernel>([StandInFunction alloc], result);
}
@end

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
  [self commandBuffer].retained.push_back(objc_retain(pipeline));
  encoder.pipeline = pipeline;
}
- (void)setBuffer:(id<MTLBuffer>)buffer offset:(NSUInteger)offset atIndex:(NSUInteger)index {
  Encoder &encoder = [self open:"setBuffer"];
  if (index >= kMostBuffers) misuse("setBuffer: index %lu is beyond 30", index);
  if (buffer != nil && offset >= state<Buffer>(buffer).length) {
    misuse("setBuffer: offset %lu is beyond the buffer of %zu bytes", offset,
           state<Buffer>(buffer).length);
  }
  [self commandBuffer].retained.push_back(objc_retain(buffer));
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
  if (length % 16 != 0) misuse("threadgroup memory of %lu bytes: not a multiple of 16", length);
  encoder.threadgroup_memory[index] = length;
}
- (void)memoryBarrierWithScope:(MTLBarrierScope)scope {
  [self open:"memoryBarrierWithScope"];
  if (scope == MTLBarrierScopeBuffers) [self commandBuffer].commands.push_back({});
}
- (void)dispatchThreadgroups:(MTLSize)threadgroups threadsPerThreadgroup:(MTLSize)threads {
  Encoder &encoder = [self open:"dispatchThreadgroups"];
  if (encoder.pipeline == nil) misuse("a dispatch without pipeline");
  const Kernel &kernel = state<Kernel>(encoder.pipeline);
  const char *name = kernel.info->name;
  const NSUInteger count = threads.width * threads.height * threads.depth;
  if (count == 0 || count > kernel.max_threads) {
    misuse("%s: %lu threads in a threadgroup, of at most %lu", name, count, kernel.max_threads);
  }
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
  for (unsigned i = 0; i < kernel.info->argument_count; ++i) {
    const software_metal::ArgumentInfo &argument = kernel.info->arguments[i];
    if (argument.is_threadgroup) {
      const auto length = encoder.threadgroup_memory.find(argument.index);
      if (length == encoder.threadgroup_memory.end()) {
        misuse("%s: threadgroup memory %u has no length", name, argument.index);
      }
      dispatch.threadgroup_memory.push_back(
          {argument.index, static_cast<uint32_t>(length->second)});
      continue;
    }
    const auto is_off = [&](const ssm::metal::Constant &constant) {
      return static_cast<int>(constant.index) == argument.only_if && constant.value == 0;
    };
    if (std::any_of(kernel.constants.begin(), kernel.constants.end(), is_off)) continue;
    const auto buffer = encoder.buffers.find(argument.index);
    const auto bytes = encoder.bytes.find(argument.index);
    if (bytes != encoder.bytes.end()) {
      dispatch.params_index = argument.index;
      dispatch.params = bytes->second;
    } else if (buffer != encoder.buffers.end() && buffer->second.first != nil) {
      const auto &[object, offset] = buffer->second;
      const Buffer &held = state<Buffer>(object);
      auto memory = std::make_shared<ssm::Memory>(
          std::shared_ptr<std::byte>(held.begin, [](std::byte *) {}), held.length, false);
      dispatch.buffers.push_back(
          {argument.index, {memory, offset, held.length - offset}, argument.is_written});
    } else {
      misuse("%s: buffer %u (%s) is not bound", name, argument.index, argument.name);
    }
  }
  dispatch.threadgroups = {static_cast<uint32_t>(threadgroups.width),
                           static_cast<uint32_t>(threadgroups.height),
                           static_cast<uint32_t>(threadgroups.depth)};
  dispatch.threads = {static_cast<uint32_t>(threads.width), static_cast<uint32_t>(threads.height),
                      static_cast<uint32_t>(threads.depth)};
  [self commandBuffer].commands.push_back(std::move(command));
  encoder.pipeline = nil;
  encoder.buffers.clear();
  encoder.bytes.clear();
  encoder.threadgroup_memory.clear();
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

@interface StandInCommandBuffer : NSObject <MTLCommandBuffer>
@end
@implementation StandInCommandBuffer
- (id<MTLComputeCommandEncoder>)computeCommandEncoderWithDispatchType:(MTLDispatchType)type {
  auto &buffer = state<CommandBuffer>(self);
  if (buffer.is_committed) misuse("an encoder of a command buffer that was committed");
  if (buffer.is_encoding) misuse("an encoder while another one encodes");
  if (type != MTLDispatchTypeConcurrent) misuse("the stand-in has concurrent encoders only");
  buffer.is_encoding = true;
  return objc_autorelease(with_state<Encoder>([StandInEncoder alloc], objc_retain(self)));
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
  GpuThread::instance().push(objc_retain(self));
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
- (id<MTLCommandBuffer>)commandBuffer {
  return objc_autorelease(
      with_state<CommandBuffer>([StandInCommandBuffer alloc], objc_retain(self)));
}
- (void)addResidencySet:(id<MTLResidencySet>)set {
  // The queue retains it, and what it has.
  state<std::vector<id>>(self).push_back(objc_retain(set));
}
- (void)dealloc {
  for (id set : state<std::vector<id>>(self)) objc_release(set);
  [super dealloc];
}
@end

@interface StandInDevice : NSObject <MTLDevice>
@end
@implementation StandInDevice
- (NSString *)name {
  return [NSString stringWithUTF8String:"stand-in"];
}
- (MTLSize)maxThreadsPerThreadgroup {
  return {1024, 1024, 1024};
}
- (NSUInteger)maxThreadgroupMemoryLength {
  return kThreadgroupMemory;
}
- (NSUInteger)maxBufferLength {
  return controls().max_buffer_length;
}
- (BOOL)supportsFamily:(MTLGPUFamily)family {
  return family > 1000 && uint64_t(family) <= controls().gpu_family;
}
- (id<MTLCommandQueue>)newCommandQueue {
  return with_state<std::vector<id>>([StandInQueue alloc]);
}
- (id<MTLBuffer>)newBufferWithBytesNoCopy:(void *)pointer
                                   length:(NSUInteger)length
                                  options:(MTLResourceOptions)options
                              deallocator:(void (^)(void *, NSUInteger))release {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  if (reinterpret_cast<size_t>(pointer) % page != 0 || length % page != 0 || length == 0) {
    misuse("newBufferWithBytesNoCopy: pointer and length must be multiples of the page");
  }
  if (options != MTLResourceStorageModeShared) misuse("memory without copy is shared memory");
  if (must_fail(controls().fail_buffers) || length > controls().max_buffer_length) return nil;
  controls().buffers_made += 1;
  return with_state<Buffer>([StandInBuffer alloc], static_cast<std::byte *>(pointer), length,
                            reinterpret_cast<void (^)(void *, NSUInteger)>(
                                _Block_copy(reinterpret_cast<void *>(release))));
}
- (id<MTLLibrary>)newLibraryWithSource:(NSString *)source
                               options:(MTLCompileOptions *)options
                                 error:(NSError **)error {
  const auto &given = state<CompileOptions>(options);
  if (must_fail(controls().fail_libraries)) {
    give(error, "program_source:1:1: error: expected unqualified-id (injected)");
    return nil;
  }
  if (given.language < MTLLanguageVersion3_1) {
    give(error, "program_source:1:1: error: unknown type name 'bfloat'");
    return nil;
  }
  if (given.mode != MTLMathModeSafe || given.functions != MTLMathFloatingPointFunctionsPrecise) {
    misuse("kernels are compiled with mathematics that is not safe and precise");
  }
  return with_state<Library>([StandInLibrary alloc], source.UTF8String);
}
- (id<MTLComputePipelineState>)newComputePipelineStateWithDescriptor:
                                   (MTLComputePipelineDescriptor *)descriptor
                                                             options:(MTLPipelineOption)options
                                                          reflection:(void *)reflection
                                                               error:(NSError **)error {
  (void)options, (void)reflection;
  const auto &given = state<PipelineDescriptor>(descriptor);
  if (given.function == nil) misuse("a pipeline needs a compute function");
  // As on a GPU, a kernel with many registers allows few threads unless more were asked for.
  const NSUInteger asked = given.max_threads == 0 ? 32 : given.max_threads;
  if (asked > controls().max_threads) {
    give(error, "Compute function exceeds available registers");
    return nil;
  }
  Kernel kernel = state<Kernel>(given.function);
  kernel.max_threads = asked;
  return with_state<Kernel>([StandInPipeline alloc], kernel);
}
- (id<MTLResidencySet>)newResidencySetWithDescriptor:(MTLResidencySetDescriptor *)what
                                               error:(NSError **)error {
  (void)what, (void)error;
  return with_state<ResidencySet>([StandInResidencySet alloc]);
}
@end

extern "C" id<MTLDevice> MTLCreateSystemDefaultDevice() {
  return with_state<std::string>([StandInDevice alloc]);
}

metal_stand_in::Controls &metal_stand_in::controls() {
  static auto *instance = new Controls;  // never destroyed: the GPU's thread outlives main()
  return *instance;
}
