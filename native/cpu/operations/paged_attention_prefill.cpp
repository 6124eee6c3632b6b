// A chunk of causal attention over all positions so far, with keys and values of the chunk in the
// pages already: the query at absolute position t attends to positions 0 to t, as in
// paged_attention_decode.cpp. Queries and keys are normed and turned already.
#include "metal/paged_attention_prefill.h"

#include <algorithm>
#include <vector>

#include "native/cpu/operations.h"
#include "native/cpu/paged_attention.h"

namespace ssm::cpu {

void paged_attention_prefill(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<PagedAttentionPrefillParams>();
  const auto* q = operation.data<const float>(0);      // (batch, length, heads, head_dim or twice)
  const auto* keys = operation.data<const void>(1);    // (page_count, 256, cols)
  const auto* values = operation.data<const void>(2);  // (page_count, 256, cols)
  const auto* table = operation.data<const uint32_t>(3);     // (slots, pages_per_slot)
  const auto* position = operation.data<const uint32_t>(4);  // (batch)
  const auto* rows = operation.data<const uint32_t>(5);      // (batch), each slot once
  auto* out = operation.data<float>(6);                      // (batch, length, heads, head_dim)
  const DataType type = operation.bindings[1].type;
  const size_t head_dim = p.head_dim, cols = p.kv_heads * head_dim;
  const size_t sharing = p.heads / p.kv_heads, head_stride = p.gated ? 2 * head_dim : head_dim;

  for (size_t b = 0; b < p.batch; ++b) {
    const size_t before = position[b];
    const RowPages pages(p, table, rows[b], before + p.length);
    if (!pages) continue;
    const size_t cost = (before + p.length) * head_dim;
    threads.parallel_for(size_t{p.length} * p.heads, cost, [&](size_t begin, size_t end) {
      std::vector<float> scores(before + p.length);
      for (size_t i = begin; i < end; ++i) {
        const size_t t = i / p.heads, h = i % p.heads;
        const float* head = q + (b * p.length + t) * p.q_stride + h * head_stride;
        float* result = out + ((b * p.length + t) * p.heads + h) * head_dim;
        attend_pages(head, type, keys, values, pages, h / sharing * head_dim, cols, before + t + 1,
                     head_dim, p.scale, scores.data(), result);
        if (p.gated) gate_head(head + head_dim, head_dim, result);
      }
    });
  }
}

}  // namespace ssm::cpu
