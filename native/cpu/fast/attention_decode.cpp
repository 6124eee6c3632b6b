// What native/cpu/attention_decode.cpp computes.
#include <algorithm>
#include <vector>

#include "cpu/fast/operations.h"

namespace ssm::cpu::fast {

void attention_decode(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
  const auto p = operation.params<AttentionDecodeParams>();
  const auto* q = operation.data<const float>(0);            // (batch, heads, head_dim)
  const auto* k = operation.data<const float>(1);            // (batch, kv_heads, head_dim)
  const auto* v = operation.data<const float>(2);            // (batch, kv_heads, head_dim)
  auto* keys = operation.data<float>(3);                     // (batch, window, kv_heads, head_dim)
  auto* values = operation.data<float>(4);                   // (batch, window, kv_heads, head_dim)
  const auto* position = operation.data<const uint32_t>(5);  // (batch)
  auto* out = operation.data<float>(6);                      // (batch, heads, head_dim)
  const size_t row = size_t{p.kv_heads} * p.head_dim;
  for (size_t b = 0; b < p.batch; ++b) {
    const size_t slot = b * p.window + position[b] % p.window;
    std::copy_n(k + b * p.k_stride, row, keys + slot * row);
    std::copy_n(v + b * p.v_stride, row, values + slot * row);
  }
  const size_t cost = size_t{p.window} * p.head_dim;
  threads.parallel_for(size_t{p.batch} * p.heads, cost, [&](size_t begin, size_t end) {
    std::vector<float> scores(p.window);
    for (size_t i = begin; i < end; ++i) {
      const size_t b = i / p.heads, h = i % p.heads;
      const size_t count = std::min<size_t>(size_t{position[b]} + 1, p.window);
      const size_t oldest = (size_t{position[b]} + 1 - count) % p.window;
      const size_t first = b * p.window * row + h / (p.heads / p.kv_heads) * p.head_dim;
      kernels.attend(q + b * p.q_stride + h * p.head_dim, keys + first, values + first, row,
                     p.window, oldest, count, p.head_dim, p.scale, scores.data(),
                     out + i * p.head_dim);
    }
  });
}

}  // namespace ssm::cpu::fast
