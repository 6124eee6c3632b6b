#include "metal/conv1d_prefill.h"

#include "metal/conv1d_shape.h"
#include "native/metal/dispatch.h"

namespace ssm::metal {

void conv1d_prefill(const Operation& operation, Program& program) {
  const auto p = operation.params<Conv1dPrefillParams>();
  const uint32_t threads = std::min(256u, program.limits().max_threads);
  program.expect({.chunk_rows = uint64_t{p.batch} * p.length});
  const uint32_t columns = ceil_divide(p.channels, threads);

  auto outputs =
      make_dispatch<Conv1dPrefillParams>(kernel_name("conv1d_prefill", operation, {"x"}), operation,
                                         {{.written = {"out"}, .without = {}}});
  outputs.constants = {{"has_bias", p.has_bias},
                       {"gated", p.gated},
                       {"taps", p.width <= kMostTaps ? p.width : 0},
                       {"with_silu", p.activation == kSilu}};
  outputs.threads = {threads};
  outputs.threadgroups = {columns, ceil_divide(p.length, kConvTokens), p.batch};
  program.add(outputs);

  // It writes what the first reads, so Program::add puts a barrier between them.
  auto state = make_dispatch<Conv1dPrefillParams>(
      kernel_name("conv1d_prefill_state", operation, {"x"}), operation,
      {{.written = {"state"}, .without = {"weight", "bias", "outputGate", "out"}}});
  state.constants = {{"gated", p.gated}};
  state.threads = {threads};
  state.threadgroups = {columns, std::min(p.length, p.width), p.batch};
  program.add(state);
}

}  // namespace ssm::metal
