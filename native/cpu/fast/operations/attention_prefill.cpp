// The attention of native/cpu/operations/attention_prefill.cpp. The keys and values that the chunk
// can see, in the ring and in the chunk, are laid side by side first, so that each query reads a
// run of rows.
#include "metal/attention_prefill.h"

#include <algorithm>

#include "native/cpu/fast/scratch.h"
#include "native/cpu/operations.h"

namespace ssm::cpu::fast {

void attention_prefill(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
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

  for (size_t b = 0; b < p.batch; ++b) {
    if (rows[b] >= p.slots) continue;
    const size_t first = position[b];  // absolute position of this chunk
    // Tokens in the ring that a query of this chunk may need.
    const size_t seen = std::min<size_t>(first, p.window - 1);
    const size_t tokens = seen + p.length;
    float* all_keys = scratch<Scratch::kShared>(2 * tokens * row);  // (tokens, row)
    float* all_values = all_keys + tokens * row;
    for (size_t j = 0; j < seen; ++j) {
      const size_t at = size_t{rows[b]} * p.window + (first - seen + j) % p.window;
      std::copy_n(keys + at * row, row, all_keys + j * row);
      std::copy_n(values + at * row, row, all_values + j * row);
    }
    for (size_t t = 0; t < p.length; ++t) {
      const size_t token = b * p.length + t;
      std::copy_n(k + token * p.k_stride, row, all_keys + (seen + t) * row);
      std::copy_n(v + token * p.v_stride, row, all_values + (seen + t) * row);
    }
    const size_t cost = size_t{std::min(p.window, p.length + p.window / 2)} * p.head_dim;
    threads.parallel_for(size_t{p.length} * p.heads, cost, [&](size_t begin, size_t end) {
      float* scores = scratch<Scratch::kOwn>(p.window);
      for (size_t i = begin; i < end; ++i) {
        const size_t h = i % p.heads, t = i / p.heads;
        const size_t count = std::min<size_t>(seen + t + 1, p.window);
        const size_t column = h / (p.heads / p.kv_heads) * p.head_dim;
        kernels.attend(q + (b * p.length + t) * p.q_stride + h * p.head_dim, all_keys + column,
                       all_values + column, row, tokens, seen + t + 1 - count, count, p.head_dim,
                       p.scale, scores, out + ((b * p.length + t) * p.heads + h) * p.head_dim);
      }
    });
  }
}

}  // namespace ssm::cpu::fast
