#include "metal/attention_prefill.h"

#include "native/metal/attention.h"

namespace ssm::metal {

void attention_prefill(const Operation& operation, Program& program) {
  const auto p = operation.params<AttentionPrefillParams>();
  require_head_dim(operation, p.head_dim);
  require(program.limits(), operation, kTileThreads, 3 * kTileBytes + kDiagonalBytes);
  auto dispatch = make_dispatch<AttentionPrefillParams>(
      kernel_name("attention_prefill", operation, {"q"}), operation);
  dispatch.constants = {{"head_dim", p.head_dim}};
  dispatch.threads = {kTileThreads};
  dispatch.threadgroup_memory = {
      {0, kTileBytes}, {1, kTileBytes}, {2, kTileBytes}, {3, kDiagonalBytes}};
  dispatch.threadgroups = {ceil_divide(p.length, kTile), p.heads, p.batch};
  const uint64_t rows = uint64_t{p.batch} * p.length;
  program.expect({.arithmetic = 4.0 * static_cast<double>(rows) * p.heads * p.head_dim *
                                static_cast<double>(uint64_t{p.window} + p.length),
                  .chunk_rows = rows});
  program.add(dispatch);
}

}  // namespace ssm::metal
