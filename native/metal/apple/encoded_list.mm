#include "native/metal/apple/encoded_list.h"

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "native/metal/kernel_source.h"

namespace ssm::apple {

using metal::Dispatch;

namespace {

constexpr size_t kMaxParams = 4096;  // bytes that setBytes takes

MTLSize size_of(const metal::Size& size) { return {size.x, size.y, size.z}; }

// Registers that a kernel needs may allow it fewer threads than the GPU has.
void check(const Dispatch& dispatch, id<MTLComputePipelineState> pipeline,
           const metal::Limits& limits) {
  uint64_t memory = pipeline.staticThreadgroupMemoryLength;
  for (const auto& [index, bytes] : dispatch.threadgroup_memory) memory += bytes;
  const auto require = [&](const char* what, uint64_t needed, uint64_t allowed) {
    if (needed <= allowed) return;
    throw std::runtime_error("[metal] kernel " + dispatch.kernel + " needs " +
                             std::to_string(needed) + " " + what + " but this GPU allows it " +
                             std::to_string(allowed));
  };
  require("threads a threadgroup", dispatch.threads_of_group(),
          pipeline.maxTotalThreadsPerThreadgroup);
  require("bytes of threadgroup memory", memory, limits.threadgroup_memory);
  require("bytes of parameters", dispatch.params.size(), kMaxParams);
}

}  // namespace

EncodedList::EncodedList(const CommandList& list, const metal::Limits& limits, Gpu& gpu)
    : program_(metal::make_program(list, limits, &Memory::allocate)) {
  gpu.buffers().residency().let_go();
  // All at once, and here in order. What fails before this thread asks for it is tried a second
  // time; one kernel alone is compiled here.
  std::vector<KernelText> texts = metal::texts_of(program_.dispatches());
  if (texts.size() > 1) gpu.pipelines().prepare(std::move(texts), [](const auto&) {});
  for (const Dispatch& dispatch : program_.dispatches()) {
    steps_.push_back(
        on_behalf_of(dispatch.operation, [&] { return step_of(dispatch, limits, gpu); }));
  }
}

EncodedList::Step EncodedList::step_of(const Dispatch& dispatch, const metal::Limits& limits,
                                       Gpu& gpu) {
  Step step;
  step.dispatch = &dispatch;
  step.pipeline = gpu.pipelines().pipeline_of(metal::text_of(dispatch));
  check(dispatch, step.pipeline, limits);
  for (const auto& [index, binding, written] : dispatch.buffers) {
    // The block of a run is known only when it is encoded.
    if (binding.memory->is_run_block()) {
      step.buffers.push_back({.buffer = nil, .offset = binding.offset, .index = index});
      continue;
    }
    const auto [buffer, offset] =
        gpu.buffers().part_of(*binding.memory, binding.offset, binding.bytes);
    step.buffers.push_back({.buffer = buffer, .offset = offset, .index = index});
  }
  return step;
}

void EncodedList::encode(size_t piece, id<MTLComputeCommandEncoder> encoder,
                         id<MTLBuffer> block) const {
  const std::vector<size_t>& begins = program_.pieces();
  const size_t end = piece + 1 < begins.size() ? begins[piece + 1] : steps_.size();
  for (size_t i = begins[piece]; i < end; ++i) {
    const auto& [dispatch, pipeline, buffers] = steps_[i];
    if (dispatch->barrier) [encoder memoryBarrierWithScope:MTLBarrierScopeBuffers];
    [encoder setComputePipelineState:pipeline];
    for (const auto& [buffer, offset, index] : buffers) {
      [encoder setBuffer:buffer == nil ? block : buffer offset:offset atIndex:index];
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

}  // namespace ssm::apple
