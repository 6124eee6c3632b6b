#include "attention.h"

namespace ssm::metal {

void attention_decode(const Operation& operation, Program& program) {
  const auto p = operation.params<AttentionDecodeParams>();
  const Limits& limits = program.limits();
  require_head_dim("attention_decode", p.head_dim);
  require(limits, "attention_decode", kSimdWidth, kKeyBytes);
  const uint32_t sharing = p.heads / p.kv_heads;  // query heads of a key/value head
  const uint32_t simdgroups = std::min(sharing, std::min(limits.max_threads, 1024u) / kSimdWidth);
  auto dispatch =
      make_dispatch<AttentionDecodeParams>("attention_decode_float32", operation, 0b1011000);
  dispatch.constants = {{0, p.head_dim}};
  dispatch.threads = {simdgroups * kSimdWidth};
  dispatch.threadgroup_memory = {{0, kKeyBytes}};
  dispatch.threadgroups = {ceil_divide(sharing, simdgroups), p.kv_heads, p.batch};
  program.add(dispatch);
}

}  // namespace ssm::metal
