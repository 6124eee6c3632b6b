#include "native/metal/attention.h"

namespace ssm::metal {

void attention_prefill(const Operation& operation, Program& program) {
  const auto p = operation.params<AttentionPrefillParams>();
  require_head_dim("attention_prefill", p.head_dim);
  require(program.limits(), "attention_prefill", kTileThreads, 3 * kTileBytes + kDiagonalBytes);
  auto dispatch = make_dispatch<AttentionPrefillParams>(
      kernel_name("attention_prefill", operation, {0}), operation, 0b10000000);
  dispatch.constants = {{"head_dim", p.head_dim}};
  dispatch.threads = {kTileThreads};
  dispatch.threadgroup_memory = {
      {0, kTileBytes}, {1, kTileBytes}, {2, kTileBytes}, {3, kDiagonalBytes}};
  dispatch.threadgroups = {ceil_divide(p.length, kTile), p.heads, p.batch};
  program.add(dispatch);
}

}  // namespace ssm::metal
