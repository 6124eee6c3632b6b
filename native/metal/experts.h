// What the dispatch code of experts_matmul and quantized_experts_matmul shares.
#pragma once

#include "native/metal/grid.h"

namespace ssm::metal {

// The grid of metal/experts.h, and the constants of that.
template <class Params>
void add_experts(Dispatch& dispatch, const Params& p, Program& program) {
  constexpr uint32_t kOutputs = 4;  // of a simdgroup
  dispatch.constants.push_back({"activation", p.activation});
  dispatch.constants.push_back({"gated", p.gated});
  dispatch.threads = {threads_for(128, 1024, program.limits())};
  const uint32_t outputs = dispatch.threads.x / kSimdWidth * kOutputs;
  dispatch.threadgroups = {ceil_divide(p.outputs, outputs), p.rows};
  program.expect({.arithmetic = 2.0 * p.rows * p.inputs * p.outputs, .chunk_rows = 0});
  program.add(dispatch);
}

}  // namespace ssm::metal
