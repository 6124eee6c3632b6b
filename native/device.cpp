#include "native/device.h"

#include <cstring>

#include "native/run_block.h"

namespace ssm {

namespace {

// Null when the operations of the list use neither inputs nor outputs.
std::byte* block_of(const Run& run) {
  const auto& block = run.block ? run.block : run.list->block();
  return block ? block->data() : nullptr;
}

}  // namespace

void begin_run(const Run& run) {
  std::byte* block = block_of(run);
  if (block == nullptr) return;
  if (!run.inputs.empty()) std::memcpy(block, run.inputs.data(), run.inputs.size());
  std::memset(block + kOutputsOffset, 0, run.output_bytes);
}

RunEnd end_run(const Run& run) {
  RunEnd end;
  end.outputs.resize(run.output_bytes);
  const std::byte* block = block_of(run);
  if (block != nullptr && run.output_bytes > 0) {
    std::memcpy(end.outputs.data(), block + kOutputsOffset, run.output_bytes);
  }
  return end;
}

}  // namespace ssm
