#include "attention.h"

namespace ssm::metal {

void attention_decode(const Operation& operation, Program& program) {
  const auto p = operation.params<AttentionDecodeParams>();
  const Limits& limits = program.limits();
  require_head_dim("attention_decode", p.head_dim);
  require(limits, "attention_decode", kSimdWidth, kKeyBytes);
  const uint32_t sharing = p.heads / p.kv_heads;  // query heads of a key/value head
  const uint32_t simdgroups = std::min(sharing, std::min(limits.max_threads, 1024u) / kSimdWidth);
  const uint32_t splits = ceil_divide(p.window, kKeySplit);

  auto attend =
      make_dispatch<AttentionDecodeParams>("attention_decode_float32", operation, 0b1011000);
  attend.constants = {{0, p.head_dim}, {1, splits > 1}};
  attend.threads = {simdgroups * kSimdWidth};
  attend.threadgroup_memory = {{0, kKeyBytes}};
  attend.threadgroups = {ceil_divide(sharing, simdgroups), p.kv_heads, p.batch * splits};
  if (splits == 1) return program.add(attend);

  const size_t count = size_t{p.batch} * p.heads * splits * (2 + p.head_dim);
  const Binding parts = program.scratch(count * sizeof(float));
  attend.buffers.push_back({8, parts, true});
  program.add(attend);

  auto join = make_dispatch<AttentionDecodeParams>("attention_decode_join_float32", operation,
                                                   0b1000000, 0b0011111);
  join.buffers.push_back({8, parts, false});
  join.constants = {{0, p.head_dim}};
  join.threads = {kSimdWidth};
  join.threadgroups = {p.heads, p.batch};
  program.add(join);
}

}  // namespace ssm::metal
