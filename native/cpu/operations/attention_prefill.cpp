// A chunk of sliding-window attention: the query at absolute position t attends to the keys at
// t - window + 1 .. t, those of this chunk read from k and v, earlier ones from the ring. The ring
// is only read: kv_cache_write follows.
#include "metal/attention_prefill.h"

#include <algorithm>
#include <vector>

#include "native/cpu/attention.h"
#include "native/cpu/operations.h"

namespace ssm::cpu {

void attention_prefill(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<AttentionPrefillParams>();
  const auto* q = operation.data<const float>(0);            // (batch, length, heads, head_dim)
  const auto* k = operation.data<const float>(1);            // (batch, length, kv_heads, head_dim)
  const auto* v = operation.data<const float>(2);            // (batch, length, kv_heads, head_dim)
  const auto* keys = operation.data<const float>(3);         // (slots, window, kv_heads, head_dim)
  const auto* values = operation.data<const float>(4);       // (slots, window, kv_heads, head_dim)
  const auto* position = operation.data<const uint32_t>(5);  // (batch)
  const auto* rows = operation.data<const uint32_t>(6);      // (batch), each slot once
  auto* out = operation.data<float>(7);                      // (batch, length, heads, head_dim)
  const size_t row = size_t{p.kv_heads} * p.head_dim;
  const size_t cost = size_t{p.window} * p.head_dim * 2;
  const size_t queries = size_t{p.batch} * p.length * p.heads;
  threads.parallel_for(queries, cost, [&](size_t begin, size_t end) {
    std::vector<float> scores(p.window);
    for (size_t i = begin; i < end; ++i) {
      const size_t h = i % p.heads, t = i / p.heads % p.length, b = i / p.heads / p.length;
      if (rows[b] >= p.slots) continue;
      const size_t first = position[b];  // absolute position of this chunk
      const size_t count = std::min<size_t>(first + t + 1, p.window);
      const size_t oldest = first + t + 1 - count;
      const size_t column = h / (p.heads / p.kv_heads) * p.head_dim;
      const auto at = [&](const float* chunk, size_t stride, const float* rings, size_t j) {
        const size_t absolute = oldest + j;
        const float* ring = rings + size_t{rows[b]} * p.window * row;
        return absolute >= first ? chunk + (b * p.length + absolute - first) * stride + column
                                 : ring + absolute % p.window * row + column;
      };
      attend(
          q + (b * p.length + t) * p.q_stride + h * p.head_dim,
          [&](size_t j) { return at(k, p.k_stride, keys, j); },
          [&](size_t j) { return at(v, p.v_stride, values, j); }, count, p.head_dim, p.scale,
          scores.data(), out + i * p.head_dim);
    }
  });
}

}  // namespace ssm::cpu
