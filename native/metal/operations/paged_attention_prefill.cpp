#include "metal/paged_attention_prefill.h"

#include "metal/pages.h"
#include "native/metal/attention.h"

namespace ssm::metal {

void paged_attention_prefill(const Operation& operation, Program& program) {
  const auto p = operation.params<PagedAttentionPrefillParams>();
  require_head_dim(operation, p.head_dim);
  require(program.limits(), operation, kTileThreads, 3 * kTileBytes + kDiagonalBytes);
  auto dispatch = make_dispatch<PagedAttentionPrefillParams>(
      kernel_name("paged_attention_prefill", operation, {"q", "keys"}), operation);
  dispatch.constants = {{"head_dim", p.head_dim}};
  dispatch.threads = {kTileThreads};
  dispatch.threadgroup_memory = {
      {0, kTileBytes}, {1, kTileBytes}, {2, kTileBytes}, {3, kDiagonalBytes}};
  dispatch.threadgroups = {ceil_divide(p.length, kTile), p.heads, p.batch};
  // How far the sequences have come, only a run can tell: half of what the table has room for.
  const uint64_t rows = uint64_t{p.batch} * p.length;
  const double seen = 0.5 * kPagePositions * static_cast<double>(p.pages_per_slot);
  program.expect({.arithmetic = 4.0 * static_cast<double>(rows) * p.heads * p.head_dim * seen,
                  .chunk_rows = rows});
  program.add(dispatch);
}

}  // namespace ssm::metal
