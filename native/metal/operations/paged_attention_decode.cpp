#include "metal/paged_attention_decode.h"

#include <bit>

#include "metal/pages.h"
#include "native/metal/attention.h"
#include "native/metal/grid.h"

namespace ssm::metal {

namespace {

constexpr uint32_t kPageBlocks = kPagePositions / 32;  // of keys that a simdgroup takes at once

// A thread a column, for each head of each row.
void add_join(const Operation& operation, const PagedAttentionDecodeParams& p, uint32_t parts,
              const Binding& partial, Program& program) {
  auto join = make_dispatch<PagedAttentionDecodeParams>(
      kernel_name("paged_attention_join", operation, {"q"}), operation,
      KernelBuffers{.written = {"out"},
                    .without = {"k", "v", "qNorm", "kNorm", "frequencies", "keys", "values"}});
  join.constants = {{"parts", parts}};
  join.reads(13, partial);
  join.threads = {threads_for(p.head_dim, 256, program.limits())};
  join.threadgroups = {p.heads, p.batch};
  program.add(join);
}

}  // namespace

void paged_attention_decode(const Operation& operation, Program& program) {
  const auto p = operation.params<PagedAttentionDecodeParams>();
  const Limits& limits = program.limits();
  require_head_dim(operation, p.head_dim);
  const uint32_t sharing = p.heads / p.kv_heads;  // query heads of a key/value head
  const uint32_t heads = std::min(sharing, limits.tuning.attention_heads);
  const auto head_bytes =
      static_cast<uint32_t>(round_up(uint64_t{heads + 2} * p.head_dim * sizeof(float), 16));
  // Of a simdgroup: its sums of a head, its largest score and its sum of weights.
  const uint32_t join_bytes = (p.head_dim + 3) * sizeof(float);
  require(limits, operation, kSimdWidth, head_bytes + round_up(join_bytes, 16));
  const uint32_t simdgroups =
      std::min({limits.max_threads / kSimdWidth, limits.tuning.attention_simdgroups,
                (limits.threadgroup_memory - head_bytes) / join_bytes, kPageBlocks});
  const uint32_t parts = std::min(limits.tuning.attention_parts, p.pages_per_slot);
  // Whether keys and values can be read 16 bytes at a time.
  bool aligned = p.head_dim % 8 == 0;
  for (const char* name : {"keys", "values"}) {
    const Binding& binding = operation.binding(name);
    aligned = aligned && is_aligned(binding, uint64_t{p.head_dim} * size_of(binding.type));
  }

  auto dispatch = make_dispatch<PagedAttentionDecodeParams>(
      kernel_name("paged_attention_decode", operation, {"q", "keys"}), operation);
  dispatch.constants = {{"head_dim", p.head_dim},
                        {"block_heads", heads},
                        {"together", std::bit_floor(limits.tuning.attention_keys)},
                        {"aligned_loads", aligned},
                        {"normed", operation.binding("qNorm").memory != nullptr},
                        {"turned", operation.binding("frequencies").memory != nullptr},
                        {"parts", parts},
                        {"divided", parts > 1}};
  Binding partial;
  if (parts > 1) {
    const size_t heads_in_all = size_t{p.batch} * p.heads;
    partial = program.scratch(heads_in_all * parts * (p.head_dim + 2) * sizeof(float));
    dispatch.writes(13, partial);
  }
  dispatch.threads = {simdgroups * kSimdWidth};
  dispatch.threadgroup_memory = {
      {0, head_bytes}, {1, static_cast<uint32_t>(round_up(uint64_t{simdgroups} * join_bytes, 16))}};
  dispatch.threadgroups = {parts * ceil_divide(sharing, heads), p.kv_heads, p.batch};
  program.add(dispatch);
  if (parts > 1) add_join(operation, p, parts, partial, program);
}

}  // namespace ssm::metal
