// One token of causal attention over all positions so far:
//   q, k = turn(norm(q)), turn(norm(k))       as rotary.cpp, each of them only when given
//   k, v enter the pages of the sequence at position[b]
//   out  = sum over keys j <= position[b] of softmax(scale * q . key[j]) * value[j]
//          (Vaswani et al., 2017; grouped heads: Ainslie et al., 2023)
//   out *= sigmoid(gate)                      when gated (Qwen3-Next, Qwen3.5)
#include "metal/paged_attention_decode.h"

#include <vector>

#include "native/cpu/operations.h"
#include "native/cpu/paged_attention.h"

namespace ssm::cpu {

void paged_attention_decode(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<PagedAttentionDecodeParams>();
  const auto* q = operation.data<const float>(0);            // (batch, heads, head_dim or twice)
  const auto* keys = operation.data<const void>(6);          // (page_count, 256, cols)
  const auto* values = operation.data<const void>(7);        // (page_count, 256, cols)
  const auto* table = operation.data<const uint32_t>(8);     // (slots, pages_per_slot)
  const auto* position = operation.data<const uint32_t>(9);  // (batch)
  const auto* rows = operation.data<const uint32_t>(10);     // (batch), each slot once
  auto* out = operation.data<float>(11);                     // (batch, heads, head_dim)
  const DataType type = operation.bindings[6].type;
  const size_t head_dim = p.head_dim, cols = p.kv_heads * head_dim, sharing = p.heads / p.kv_heads;
  std::vector<float> queries(size_t{p.batch} * p.heads * head_dim);
  const size_t longest = enter_pages(operation, p, queries.data());
  threads.parallel_for(
      size_t{p.batch} * p.heads, longest * head_dim, [&](size_t begin, size_t end) {
        std::vector<float> scores(longest);
        for (size_t i = begin; i < end; ++i) {
          const size_t b = i / p.heads, h = i % p.heads, count = size_t{position[b]} + 1;
          const RowPages pages(p, table, rows[b], count);
          if (!pages) continue;
          attend_pages(queries.data() + i * head_dim, type, keys, values, pages,
                       h / sharing * head_dim, cols, count, head_dim, p.scale, scores.data(),
                       out + i * head_dim);
          if (!p.gated) continue;
          gate_head(q + b * p.q_stride + (2 * h + 1) * head_dim, head_dim, out + i * head_dim);
        }
      });
}

}  // namespace ssm::cpu
