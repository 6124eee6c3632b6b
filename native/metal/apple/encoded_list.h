// A list as it is encoded for every run: nothing is looked up, checked or allocated any more.
#pragma once

#include <vector>

#include "native/command_list.h"
#include "native/metal/apple/apple.h"
#include "native/metal/apple/gpu.h"
#include "native/metal/program.h"

namespace ssm::apple {

class EncodedList final : public CompiledList {
 public:
  // Throws Failed: what is wrong with the list, or with the GPU.
  EncodedList(const CommandList& list, const metal::Limits& limits, Gpu& gpu);

  void check_results() const override { program_.check_results(); }

  // Each piece gets a command buffer of its own.
  size_t pieces() const { return program_.pieces().size(); }
  // `block`: that of the run at hand; nil when no operation has inputs or outputs of the run.
  void encode(size_t piece, id<MTLComputeCommandEncoder> encoder, id<MTLBuffer> block) const;

 private:
  struct BoundBuffer {
    id<MTLBuffer> buffer;  // nil: the block of the run
    size_t offset;
    uint32_t index;
  };
  struct Step {
    const metal::Dispatch* dispatch;  // of program_
    id<MTLComputePipelineState> pipeline;
    std::vector<BoundBuffer> buffers;
  };
  static Step step_of(const metal::Dispatch& dispatch, const metal::Limits& limits, Gpu& gpu);

  metal::Program program_;
  std::vector<Step> steps_;
};

}  // namespace ssm::apple
