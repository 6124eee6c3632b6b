// The device 'metal': runs of command lists as Metal command buffers. What can be decided without
// Apple's API is decided elsewhere in this folder; apple/ has its buffers, pipelines and encoding.
#include <dlfcn.h>

#include <stdexcept>
#include <string>
#include <utility>

#include "native/metal/apple/encoded_list.h"
#include "native/metal/apple/gpu.h"
#include "native/metal/block_pool.h"
#include "native/metal/kernel_source.h"
#include "native/metal/metal_device.h"
#include "native/metal/preparations.h"
#include "native/metal/runs_in_flight.h"
#include "native/run_queue.h"

namespace ssm {

namespace {

using apple::EncodedList;
using apple::Gpu;
using apple::text_of;

// What became of commands that have ended. The GPU does not tell which operation was at fault.
std::optional<Failure> failure_of_buffer(id<MTLCommandBuffer> buffer) {
  if (buffer.status != MTLCommandBufferStatusError) return std::nullopt;
  NSError* error = buffer.error;
  // The codes of other domains mean something else.
  const bool is_memory = [error.domain isEqualToString:MTLCommandBufferErrorDomain] &&
                         error.code == NSInteger{MTLCommandBufferErrorOutOfMemory};
  return Failure{"[metal] the GPU failed: " + text_of(error),
                 is_memory ? FailureReason::out_of_memory : FailureReason::other};
}

// Encodes runs on the thread of its queue, because the first run of a list compiles kernels. The
// GPU computes meanwhile; Metal tells of the end on a thread of its own.
class MetalDevice final : public Device {
 public:
  MetalDevice(const metal::Tuning& tuning, double timeout)
      : gpu_(Gpu::shared()),
        limits_(gpu_->limits()),
        commands_(gpu_->make_queue()),
        in_flight_(std::make_shared<metal::RunsInFlight>(timeout)) {
    limits_.tuning = tuning;
    queue_ = std::make_unique<RunQueue>([this](const auto& run) { start(run); });
  }

  // Does not wait for the GPU: what that still uses is held by the handlers of its command buffers.
  ~MetalDevice() override {
    preparations_->cancel();
    in_flight_->close();
    queue_.reset();
  }

  unsigned threads() const override { return 1; }
  std::optional<std::string> gpu() const override {
    @autoreleasepool {
      return gpu_->name();
    }
  }
  TuningValues tuning() const override { return metal::values_of(limits_.tuning); }
  std::string dispatches(const CommandList& list) const override {
    return metal::describe(list, limits_);
  }

  void prepare(std::shared_ptr<const CommandList> list, std::function<void(RunEnd)> done) override {
    auto ready = metal::Preparations::begin(preparations_, std::move(done));
    apple::Pipelines& pipelines = gpu_->pipelines();
    pipelines.in_background([&pipelines, list = std::move(list), limits = limits_, ready] {
      try {
        pipelines.prepare(metal::kernel_texts(*list, limits), ready);
      } catch (const std::exception&) {
        ready(caught_failure());
      }
    });
  }
  DeviceMemory memory() const override {
    @autoreleasepool {
      return gpu_->memory();
    }
  }
  size_t footprint(const Memory& memory) const override {
    return std::as_const(*gpu_).buffers().footprint(memory);
  }
  size_t scratch(const CommandList& list) const override {
    return page_bytes(metal::scratch_of(list, limits_));
  }

  void submit(std::shared_ptr<Run> run) override { queue_->push(std::move(run)); }

 private:
  void start(const std::shared_ptr<Run>& run) {
    if (!in_flight_->begin(run)) return;
    std::optional<Failure> failure;
    @autoreleasepool {
      try {
        encode(run);
      } catch (const std::exception&) {
        failure = caught_failure();
      }
    }
    in_flight_->encoded(*run, std::move(failure));
  }

  // Hands a run to the GPU, piece by piece, or what of it is still wanted.
  void encode(const std::shared_ptr<Run>& run) {
    if (run->cancelled) return;
    const EncodedList& program = program_of(*run->list);
    id<MTLBuffer> block = nil;
    if (run->list->block()) {
      run->block = blocks_.take();
      begin_run(*run);
      block = gpu_->buffers().part_of(*run->block, 0, run->block->size()).buffer;
    }
    for (size_t piece = 0; piece < program.pieces(); ++piece) {
      @autoreleasepool {
        if (!in_flight_->wait_for_turn(*run)) return;
        // The handler holds all that a run uses.
        const id<MTLCommandBuffer> buffer = [commands_ commandBufferWithUnretainedReferences];
        const id<MTLComputeCommandEncoder> encoder =
            [buffer computeCommandEncoderWithDispatchType:MTLDispatchTypeConcurrent];
        if (encoder == nil) {
          throw Failed(FailureReason::out_of_memory, "[metal] not enough memory to encode a run");
        }
        program.encode(piece, encoder, block);
        [encoder endEncoding];
        commit(buffer, run);
      }
    }
  }

  void commit(id<MTLCommandBuffer> buffer, const std::shared_ptr<Run>& run) {
    const std::shared_ptr<Run> held = run;
    const std::shared_ptr<metal::RunsInFlight> in_flight = in_flight_;
    const std::shared_ptr<Gpu> gpu = gpu_;
    const id<MTLCommandQueue> queue = commands_;
    const size_t number = in_flight->commit(*run);
    [buffer addCompletedHandler:^(id<MTLCommandBuffer> done) {
      (void)gpu, (void)queue;  // held until here
      in_flight->ended(*held, number, failure_of_buffer(done));
    }];
    gpu_->buffers().residency().before_run();
    [buffer commit];
  }

  const EncodedList& program_of(const CommandList& list) {
    if (!list.compiled) list.compiled = std::make_unique<EncodedList>(list, limits_, *gpu_);
    return static_cast<EncodedList&>(*list.compiled);
  }

  std::shared_ptr<Gpu> gpu_;
  metal::Limits limits_;
  id<MTLCommandQueue> commands_;
  // Shared with threads that compile for other devices too.
  std::shared_ptr<metal::Preparations> preparations_ = std::make_shared<metal::Preparations>();
  metal::BlockPool blocks_;
  // Shared with completion handlers, which may be called after this device is gone.
  std::shared_ptr<metal::RunsInFlight> in_flight_;
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

std::unique_ptr<Device> create_metal_device(const TuningValues& changes, double timeout) {
  const metal::Tuning tuning = metal::tuned(metal::kAppleTuning, changes);
  keep_loaded();
  @autoreleasepool {
    return std::make_unique<MetalDevice>(tuning, timeout);
  }
}

}  // namespace ssm
