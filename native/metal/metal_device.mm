// Apple's Metal: buffers, pipelines and command buffers for the programs of native/metal/.
// Everything that can be decided without Apple's API is decided elsewhere. Compiled with ARC.
#import <Foundation/Foundation.h>
#import <Metal/Metal.h>

#include <dlfcn.h>
#include <unistd.h>

#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "bad_data.h"
#include "kernel_source.h"
#include "metal_device.h"
#include "program.h"
#include "run_queue.h"
#include "runs_in_flight.h"

// What macOS 15 added also needs the SDK that declares it.
#if __MAC_OS_X_VERSION_MAX_ALLOWED >= 150000
#define SSM_MACOS_15_SDK 1
#endif

namespace ssm {

namespace {

using metal::Dispatch;
using metal::Program;

constexpr size_t kMaxParams = 4096;  // bytes that setBytes takes

std::string text_of(NSString* string) { return string == nil ? "" : string.UTF8String; }

std::string text_of(NSError* error) {
  return error == nil ? "no reason given" : text_of(error.localizedDescription);
}

NSString* string_of(const std::string& text) {
  return [NSString stringWithUTF8String:text.c_str()];
}

// Keeps buffers resident between runs where the system can (macOS 15), so that a run need not make
// them so. Any thread.
class Residency {
 public:
  explicit Residency(id<MTLDevice> device) {
#ifdef SSM_MACOS_15_SDK
    if (@available(macOS 15.0, *)) {
      // Without one everything works, only slower.
      set_ = [device newResidencySetWithDescriptor:[MTLResidencySetDescriptor new] error:nil];
    }
#endif
    (void)device;
  }

  void serve(id<MTLCommandQueue> queue) {
#ifdef SSM_MACOS_15_SDK
    if (@available(macOS 15.0, *)) {
      if (set_ != nil) [queue addResidencySet:set_];
    }
#endif
    (void)queue;
  }

  void add(id<MTLBuffer> buffer) {
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

  void remove(id<MTLBuffer> buffer) {
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

 private:
  std::mutex mutex_;
  [[maybe_unused]] id set_ = nil;  // an MTLResidencySet, which macOS 14 has no name for
};

uint32_t threads_of(const Dispatch& dispatch) {
  return dispatch.threads.x * dispatch.threads.y * dispatch.threads.z;
}

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

// The GPU with what its devices share. One in a process, so that two devices (two workers) compile
// each kernel once and a Memory needs one buffer. Any thread.
class Gpu {
 public:
  static std::shared_ptr<Gpu> shared() {
    static std::mutex mutex;
    static std::weak_ptr<Gpu> current;  // gone with its last user
    const std::lock_guard lock(mutex);
    std::shared_ptr<Gpu> gpu = current.lock();
    if (!gpu) current = gpu = std::make_shared<Gpu>();
    return gpu;
  }

  Gpu() : device_(MTLCreateSystemDefaultDevice()) {
    if (device_ == nil) throw std::runtime_error("[metal] this Mac has no GPU that Metal can use");
    limits_.max_threads = static_cast<uint32_t>(device_.maxThreadsPerThreadgroup.width);
    limits_.threadgroup_memory = static_cast<uint32_t>(device_.maxThreadgroupMemoryLength);
    residency_ = std::make_shared<Residency>(device_);
  }

  const metal::Limits& limits() const { return limits_; }

  std::string name() const { return text_of(device_.name); }

  id<MTLCommandQueue> make_queue() {
    const id<MTLCommandQueue> queue = [device_ newCommandQueue];
    if (queue == nil) throw std::runtime_error("[metal] the GPU gives no command queue");
    residency_->serve(queue);
    return queue;
  }

  // The buffer over the pages of a Memory, made at first use and dropped with the Memory. The pages
  // live on until the GPU, too, has let go of them.
  id<MTLBuffer> buffer_of(Memory& memory) {
    const std::lock_guard lock(mutex_);
    if (!memory.gpu_view) {
      memory.gpu_view = std::make_shared<GpuView>(residency_, wrap(memory));
    }
    return static_cast<GpuView*>(memory.gpu_view.get())->buffer;
  }

  // The compiled kernel of a dispatch. Takes long when it is the first of its file.
  id<MTLComputePipelineState> pipeline_of(const Dispatch& dispatch) {
    std::string key = dispatch.kernel;
    for (const auto& [index, value] : dispatch.constants) {
      key += " " + std::to_string(index) + "=" + std::to_string(value);
    }
    key += " " + std::to_string(threads_of(dispatch));
    const std::lock_guard lock(mutex_);
    const auto known = pipelines_.find(key);
    if (known != pipelines_.end()) return known->second;
    const id<MTLComputePipelineState> pipeline = compile(dispatch);
    pipelines_.emplace(std::move(key), pipeline);
    return pipeline;
  }

 private:
  // The functions below run under the mutex.

  id<MTLBuffer> wrap(const Memory& memory) {
    if (memory.size() == 0)
      throw std::runtime_error("[metal] a tensor without bytes has no buffer");
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

  id<MTLComputePipelineState> compile(const Dispatch& dispatch) {
    const metal::KernelSource& source = metal::source_of(dispatch.kernel);
    MTLFunctionConstantValues* const constants = [MTLFunctionConstantValues new];
    for (const auto& [index, value] : dispatch.constants) {
      const bool truth = value != 0;
      if (metal::constant_is_bool(source, index)) {
        [constants setConstantValue:&truth type:MTLDataTypeBool atIndex:index];
      } else {
        [constants setConstantValue:&value type:MTLDataTypeUInt atIndex:index];
      }
    }
    NSError* error = nil;
    const id<MTLFunction> function =
        [library_of(source) newFunctionWithName:string_of(dispatch.kernel)
                                 constantValues:constants
                                          error:&error];
    if (function == nil)
      fail(dispatch, "is not in the compiled " + std::string(source.file), error);
    // Told how many threads a threadgroup has, the compiler gives each no more registers than allow
    // so many; otherwise a kernel with many registers may come out for fewer threads.
    MTLComputePipelineDescriptor* const descriptor = [MTLComputePipelineDescriptor new];
    descriptor.computeFunction = function;
    descriptor.maxTotalThreadsPerThreadgroup = threads_of(dispatch);
    const id<MTLComputePipelineState> pipeline =
        [device_ newComputePipelineStateWithDescriptor:descriptor
                                               options:MTLPipelineOptionNone
                                            reflection:nil
                                                 error:&error];
    if (pipeline == nil) fail(dispatch, "cannot be made ready for this GPU", error);
    return pipeline;
  }

  id<MTLLibrary> library_of(const metal::KernelSource& source) {
    const auto known = libraries_.find(&source);
    if (known != libraries_.end()) return known->second;
    MTLCompileOptions* const options = [MTLCompileOptions new];
    options.languageVersion = MTLLanguageVersion3_1;  // the first one with bfloat
    // Kernels say themselves where a less exact function will do.
    bool is_safe = false;
#ifdef SSM_MACOS_15_SDK
    if (@available(macOS 15.0, *)) {
      options.mathMode = MTLMathModeSafe;
      options.mathFloatingPointFunctions = MTLMathFloatingPointFunctionsPrecise;
      is_safe = true;
    }
#endif
    if (!is_safe) options.fastMathEnabled = NO;
    NSError* error = nil;
    const id<MTLLibrary> library = [device_ newLibraryWithSource:string_of(source.text)
                                                         options:options
                                                           error:&error];
    if (library == nil) {
      throw std::runtime_error("[metal] cannot compile metal/" + std::string(source.file) + ": " +
                               text_of(error));
    }
    libraries_.emplace(&source, library);
    return library;
  }

  [[noreturn]] static void fail(const Dispatch& dispatch, const std::string& what, NSError* error) {
    throw std::runtime_error("[metal] kernel " + dispatch.kernel + " " + what + ": " +
                             text_of(error));
  }

  id<MTLDevice> device_;
  metal::Limits limits_;
  std::shared_ptr<Residency> residency_;
  std::mutex mutex_;
  std::map<const metal::KernelSource*, id<MTLLibrary>> libraries_;
  std::map<std::string, id<MTLComputePipelineState>> pipelines_;  // by kernel and constants
};

MTLSize size_of(const metal::Size& size) { return {size.x, size.y, size.z}; }

// A list as it is encoded for every run: nothing is looked up, checked or allocated any more.
class MetalProgram final : public CompiledList {
 public:
  // Throws what is wrong with the list, or with the GPU.
  MetalProgram(const CommandList& list, const metal::Limits& limits, Gpu& gpu)
      : program_(metal::make_program(list, limits, &Memory::allocate)) {
    for (const Dispatch& dispatch : program_.dispatches()) {
      Step step{&dispatch, gpu.pipeline_of(dispatch), {}};
      check(dispatch, step.pipeline, limits);
      for (const auto& [index, binding, written] : dispatch.buffers) {
        step.buffers.push_back({gpu.buffer_of(*binding.memory), binding.offset, index});
      }
      steps_.push_back(std::move(step));
    }
  }

  void encode(id<MTLComputeCommandEncoder> encoder) const {
    for (const auto& [dispatch, pipeline, buffers] : steps_) {
      if (dispatch->barrier) [encoder memoryBarrierWithScope:MTLBarrierScopeBuffers];
      [encoder setComputePipelineState:pipeline];
      for (const auto& [buffer, offset, index] : buffers) {
        [encoder setBuffer:buffer offset:offset atIndex:index];
      }
      if (!dispatch->params.empty()) {
        [encoder setBytes:dispatch->params.data()
                   length:dispatch->params.size()
                  atIndex:dispatch->params_index];
      }
      for (const auto& [index, bytes] : dispatch->threadgroup_memory) {
        [encoder setThreadgroupMemoryLength:bytes atIndex:index];
      }
      [encoder dispatchThreadgroups:size_of(dispatch->threadgroups)
              threadsPerThreadgroup:size_of(dispatch->threads)];
    }
  }

 private:
  struct BoundBuffer {
    id<MTLBuffer> buffer;
    size_t offset;
    uint32_t index;
  };
  struct Step {
    const Dispatch* dispatch;  // of program_
    id<MTLComputePipelineState> pipeline;
    std::vector<BoundBuffer> buffers;
  };

  // Registers that a kernel needs may allow it fewer threads than the GPU has.
  static void check(const Dispatch& dispatch, id<MTLComputePipelineState> pipeline,
                    const metal::Limits& limits) {
    uint64_t memory = pipeline.staticThreadgroupMemoryLength;
    for (const auto& [index, bytes] : dispatch.threadgroup_memory) memory += bytes;
    const auto require = [&](const char* what, uint64_t needed, uint64_t allowed) {
      if (needed <= allowed) return;
      throw std::runtime_error("[metal] kernel " + dispatch.kernel + " needs " +
                               std::to_string(needed) + " " + what + " but this GPU allows it " +
                               std::to_string(allowed));
    };
    require("threads a threadgroup", threads_of(dispatch), pipeline.maxTotalThreadsPerThreadgroup);
    require("bytes of threadgroup memory", memory, limits.threadgroup_memory);
    require("bytes of parameters", dispatch.params.size(), kMaxParams);
  }

  Program program_;
  std::vector<Step> steps_;
};

// Encodes runs on the thread of its queue, because the first run of a list compiles kernels. The
// GPU computes meanwhile; Metal tells of the end on a thread of its own.
class MetalDevice final : public Device {
 public:
  explicit MetalDevice(const metal::Tuning& tuning)
      : gpu_(Gpu::shared()), limits_(gpu_->limits()), commands_(gpu_->make_queue()) {
    limits_.tuning = tuning;
    queue_ = std::make_unique<RunQueue>([this](const auto& run) { start(run); });
  }

  ~MetalDevice() override {
    queue_.reset();
    in_flight_->cancel_and_wait();
  }

  unsigned threads() const override { return 1; }
  std::string gpu() const override {
    @autoreleasepool {
      return gpu_->name();
    }
  }
  const metal::Tuning* tuning() const override { return &limits_.tuning; }
  std::string dispatches(const CommandList& list) const override {
    return metal::describe(list, limits_);
  }

  void submit(std::shared_ptr<Run> run) override { queue_->push(std::move(run)); }

 private:
  void start(const std::shared_ptr<Run>& run) {
    in_flight_->begin(run);
    @autoreleasepool {
      try {
        if (!commit(run)) in_flight_->finish(*run, kCancelled);
      } catch (const std::exception& error) {
        in_flight_->finish(*run, error.what());
      }
    }
  }

  // Hands a run to the GPU; false when it was cancelled before that.
  bool commit(const std::shared_ptr<Run>& run) {
    if (run->cancelled) return false;
    const MetalProgram& program = program_of(*run->list);
    if (run->cancelled) return false;
    const id<MTLCommandBuffer> buffer = [commands_ commandBuffer];
    const id<MTLComputeCommandEncoder> encoder =
        [buffer computeCommandEncoderWithDispatchType:MTLDispatchTypeConcurrent];
    if (encoder == nil) throw std::runtime_error("[metal] not enough memory to encode a run");
    program.encode(encoder);
    [encoder endEncoding];
    const std::shared_ptr<Run> ended = run;
    const std::shared_ptr<metal::RunsInFlight> in_flight = in_flight_;
    [buffer addCompletedHandler:^(id<MTLCommandBuffer> done) {
      const bool failed = done.status == MTLCommandBufferStatusError;
      in_flight->finish(*ended, failed ? "[metal] the GPU failed: " + text_of(done.error)
                                       : bad_data_of(*ended->list));
    }];
    [buffer commit];
    return true;
  }

  // What the kernels of a run that has ended say of its data; empty when all is well.
  static std::string bad_data_of(const CommandList& list) {
    try {
      metal::throw_on_bad_data(list);
    } catch (const std::exception& error) {
      return error.what();
    }
    return "";
  }

  const MetalProgram& program_of(const CommandList& list) {
    if (!list.compiled) list.compiled = std::make_unique<MetalProgram>(list, limits_, *gpu_);
    return static_cast<MetalProgram&>(*list.compiled);
  }

  std::shared_ptr<Gpu> gpu_;
  metal::Limits limits_;
  id<MTLCommandQueue> commands_;
  // Shared with completion handlers, whose last lines may run after this device is gone.
  std::shared_ptr<metal::RunsInFlight> in_flight_ = std::make_shared<metal::RunsInFlight>();
  std::unique_ptr<RunQueue> queue_;
};

// Metal may release a block of ours after its device is gone, and Node unloads the addon of a
// worker that ends. The code must stay.
void keep_loaded() {
  Dl_info self;
  if (dladdr(reinterpret_cast<void*>(&keep_loaded), &self) != 0) {
    dlopen(self.dli_fname, RTLD_NOW | RTLD_NODELETE);
  }
}

}  // namespace

bool has_metal_device() {
  @autoreleasepool {
    const id<MTLDevice> device = MTLCreateSystemDefaultDevice();
    return device != nil && [device supportsFamily:MTLGPUFamilyApple7];
  }
}

std::unique_ptr<Device> create_metal_device(const metal::TuningChanges& changes) {
  const metal::Tuning tuning = metal::tuned(metal::kAppleTuning, changes);
  keep_loaded();
  @autoreleasepool {
    return std::make_unique<MetalDevice>(tuning);
  }
}

}  // namespace ssm
