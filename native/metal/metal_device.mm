// The device 'metal': runs of command lists as Metal command buffers. What can be decided without
// Apple's API is decided elsewhere in this folder; apple/ has its buffers, pipelines and encoding.
#include <dlfcn.h>

#include <stdexcept>
#include <string>

#include "apple/encoded_list.h"
#include "apple/gpu.h"
#include "bad_data.h"
#include "block_pool.h"
#include "metal_device.h"
#include "run_queue.h"
#include "runs_in_flight.h"

namespace ssm {

namespace {

using apple::EncodedList;
using apple::Gpu;
using apple::text_of;

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
        if (!commit(run)) in_flight_->finish(*run, RunEnd::cancel());
      } catch (const std::exception& error) {
        in_flight_->finish(*run, RunEnd::failure(error.what()));
      }
    }
  }

  // Hands a run to the GPU; false when it was cancelled before that.
  bool commit(const std::shared_ptr<Run>& run) {
    if (run->cancelled) return false;
    const EncodedList& program = program_of(*run->list);
    if (run->cancelled) return false;
    id<MTLBuffer> block = nil;
    if (run->list->block()) {
      run->block = blocks_->take();
      begin_run(*run);
      block = gpu_->buffers().buffer_of(*run->block);
    }
    const id<MTLCommandBuffer> buffer = [commands_ commandBuffer];
    const id<MTLComputeCommandEncoder> encoder =
        [buffer computeCommandEncoderWithDispatchType:MTLDispatchTypeConcurrent];
    if (encoder == nil) throw std::runtime_error("[metal] not enough memory to encode a run");
    program.encode(encoder, block);
    [encoder endEncoding];
    const std::shared_ptr<Run> ended = run;
    const std::shared_ptr<metal::RunsInFlight> in_flight = in_flight_;
    const std::shared_ptr<metal::BlockPool> blocks = blocks_;
    [buffer addCompletedHandler:^(id<MTLCommandBuffer> done) {
      const bool failed = done.status == MTLCommandBufferStatusError;
      RunEnd end = failed ? RunEnd::failure("[metal] the GPU failed: " + text_of(done.error))
                          : end_of(*ended);
      if (ended->block) blocks->give_back(std::move(ended->block));
      in_flight->finish(*ended, std::move(end));
    }];
    [buffer commit];
    return true;
  }

  // The end of a run that the GPU has computed, unless its kernels found bad data.
  static RunEnd end_of(const Run& run) {
    try {
      metal::throw_on_bad_data(*run.list);
    } catch (const std::exception& error) {
      return RunEnd::failure(error.what());
    }
    return end_run(run);
  }

  const EncodedList& program_of(const CommandList& list) {
    if (!list.compiled) list.compiled = std::make_unique<EncodedList>(list, limits_, *gpu_);
    return static_cast<EncodedList&>(*list.compiled);
  }

  std::shared_ptr<Gpu> gpu_;
  metal::Limits limits_;
  id<MTLCommandQueue> commands_;
  // Shared with completion handlers, whose last lines may run after this device is gone.
  std::shared_ptr<metal::RunsInFlight> in_flight_ = std::make_shared<metal::RunsInFlight>();
  std::shared_ptr<metal::BlockPool> blocks_ = std::make_shared<metal::BlockPool>();
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
