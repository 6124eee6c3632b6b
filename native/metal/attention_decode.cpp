#include <bit>

#include "attention.h"

namespace ssm::metal {

void attention_decode(const Operation& operation, Program& program) {
  const auto p = operation.params<AttentionDecodeParams>();
  const Limits& limits = program.limits();
  require_head_dim("attention_decode", p.head_dim);
  require(limits, "attention_decode", kSimdWidth, kJoinBytes);
  const uint32_t sharing = p.heads / p.kv_heads;  // query heads of a key/value head
  const uint32_t heads = std::min(sharing, limits.tuning.attention_heads);
  const uint32_t most =
      std::min(limits.max_threads / kSimdWidth, limits.tuning.attention_simdgroups);
  // At least eight keys a simdgroup, once the window is full.
  const uint32_t simdgroups = std::min(most, ceil_divide(p.window, 8));

  auto dispatch = make_dispatch<AttentionDecodeParams>(
      kernel_name("attention_decode", operation, {0}), operation, 0b1011000);
  dispatch.constants = {
      {0, p.head_dim}, {1, heads}, {2, std::bit_floor(limits.tuning.attention_keys)}};
  dispatch.threads = {simdgroups * kSimdWidth};
  dispatch.threadgroup_memory = {{0, kJoinBytes}};
  dispatch.threadgroups = {ceil_divide(sharing, heads), p.kv_heads, p.batch};
  program.add(dispatch);
}

}  // namespace ssm::metal
