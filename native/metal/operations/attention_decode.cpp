#include "metal/attention_decode.h"

#include <array>
#include <bit>

#include "native/metal/attention.h"

namespace ssm::metal {

void attention_decode(const Operation& operation, Program& program) {
  const auto p = operation.params<AttentionDecodeParams>();
  const Limits& limits = program.limits();
  require_head_dim(operation, p.head_dim);
  // Of a simdgroup: its sums of a head, its largest score and its sum of weights.
  const uint32_t join_bytes = (p.head_dim + 3) * sizeof(float);
  require(limits, operation, kSimdWidth, round_up(join_bytes, 16));
  const uint32_t sharing = p.heads / p.kv_heads;  // query heads of a key/value head
  const uint32_t heads = std::min(sharing, limits.tuning.attention_heads);
  const uint32_t most =
      std::min({limits.max_threads / kSimdWidth, limits.tuning.attention_simdgroups,
                limits.threadgroup_memory / join_bytes});
  // At least eight keys a simdgroup, once the window is full.
  const uint32_t simdgroups = std::min(most, ceil_divide(p.window, 8));
  // Whether q, k and v, `stride` elements from one sequence to the next, or the rings can be read
  // 16 bytes at a time.
  bool aligned = p.head_dim % 8 == 0;
  const std::array<uint32_t, 5> strides = {p.q_stride, p.k_stride, p.v_stride, p.head_dim,
                                           p.head_dim};
  for (size_t i = 0; i < strides.size(); ++i) {
    const Binding& binding = operation.bindings[i];
    aligned = aligned && is_aligned(binding, uint64_t{strides[i]} * size_of(binding.type));
  }

  auto dispatch = make_dispatch<AttentionDecodeParams>(
      kernel_name("attention_decode", operation, {"q"}), operation);
  dispatch.constants = {{"head_dim", p.head_dim},
                        {"block_heads", heads},
                        {"together", std::bit_floor(limits.tuning.attention_keys)},
                        {"aligned_loads", aligned}};
  dispatch.threads = {simdgroups * kSimdWidth};
  dispatch.threadgroup_memory = {
      {0, static_cast<uint32_t>(round_up(uint64_t{simdgroups} * join_bytes, 16))}};
  dispatch.threadgroups = {ceil_divide(sharing, heads), p.kv_heads, p.batch};
  program.add(dispatch);
}

}  // namespace ssm::metal
