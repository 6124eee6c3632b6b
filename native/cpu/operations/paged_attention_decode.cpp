// One token of causal attention over all positions so far:
//   q, k = turn(norm(q)), turn(norm(k))       as rotary.cpp, each of them only when given
//   k, v enter the pages of the sequence at position[b]
//   out  = sum over keys j <= position[b] of softmax(scale * q . key[j]) * value[j]
//          (Vaswani et al., 2017; grouped heads: Ainslie et al., 2023)
//   out *= sigmoid(gate)                      when gated (Qwen3-Next, Qwen3.5)
#include "metal/paged_attention_decode.h"

#include <algorithm>
#include <vector>

#include "native/cpu/attention.h"
#include "native/cpu/operations.h"
#include "native/cpu/paged_attention.h"
#include "native/cpu/rotary.h"

namespace ssm::cpu {

void paged_attention_decode(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<PagedAttentionDecodeParams>();
  const auto* q = operation.data<const float>(0);            // (batch, heads, head_dim or twice)
  const auto* k = operation.data<const float>(1);            // (batch, kv_heads, head_dim)
  const auto* v = operation.data<const float>(2);            // (batch, kv_heads, head_dim)
  const auto* q_norm = operation.data<const float>(3);       // (head_dim), or absent
  const auto* k_norm = operation.data<const float>(4);       // (head_dim), or absent
  const auto* frequencies = operation.data<const float>(5);  // (rotary_dim / 2), or absent
  auto* keys = operation.data<void>(6);                      // (page_count, 256, cols)
  auto* values = operation.data<void>(7);                    // (page_count, 256, cols)
  const auto* table = operation.data<const uint32_t>(8);     // (slots, pages_per_slot)
  const auto* position = operation.data<const uint32_t>(9);  // (batch)
  const auto* rows = operation.data<const uint32_t>(10);     // (batch), each slot once
  auto* out = operation.data<float>(11);                     // (batch, heads, head_dim)
  const DataType type = operation.bindings[6].type;
  const size_t head_dim = p.head_dim, cols = p.kv_heads * head_dim;
  const Rotary rotary = {p.rotary_dim, p.interleaved != 0, frequencies, p.attention_factor};
  std::vector<float> turns(size_t{p.batch} * p.rotary_dim), key(cols);
  size_t longest = 0;

  for (size_t b = 0; b < p.batch; ++b) {
    const size_t count = size_t{position[b]} + 1;
    const RowPages pages(p, table, rows[b], count);
    if (!pages) continue;
    longest = std::max(longest, count);
    find_turns(rotary, position[b], turns.data() + b * p.rotary_dim);
    for (size_t h = 0; h < p.kv_heads; ++h) {
      float* head = key.data() + h * head_dim;
      norm_head(k + b * p.k_stride + h * head_dim, k_norm, p.eps, head_dim, head);
      turn_head(rotary, turns.data() + b * p.rotary_dim, head);
    }
    store_row(key.data(), cols, type, keys, pages.row(position[b]));
    store_row(v + b * p.v_stride, cols, type, values, pages.row(position[b]));
  }

  const size_t sharing = p.heads / p.kv_heads, head_stride = p.gated ? 2 * head_dim : head_dim;
  threads.parallel_for(
      size_t{p.batch} * p.heads, longest * head_dim, [&](size_t begin, size_t end) {
        std::vector<float> scores(longest), query(head_dim);
        for (size_t i = begin; i < end; ++i) {
          const size_t b = i / p.heads, h = i % p.heads, count = size_t{position[b]} + 1;
          const RowPages pages(p, table, rows[b], count);
          if (!pages) continue;
          const float* head = q + b * p.q_stride + h * head_stride;
          norm_head(head, q_norm, p.eps, head_dim, query.data());
          turn_head(rotary, turns.data() + b * p.rotary_dim, query.data());
          float* result = out + i * head_dim;
          attend_pages(query.data(), type, keys, values, pages, h / sharing * head_dim, cols, count,
                       head_dim, p.scale, scores.data(), result);
          if (p.gated) gate_head(head + head_dim, head_dim, result);
        }
      });
}

}  // namespace ssm::cpu
