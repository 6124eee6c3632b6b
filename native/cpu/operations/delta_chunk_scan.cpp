// The gated delta rule (native/cpu/delta.h) over many tokens: here one token after the other, as
// the rule is written. What is fast works on chunks (cpu/fast/operations/delta_chunk_scan.cpp).
#include "metal/delta_chunk_scan.h"

#include <cmath>
#include <vector>

#include "native/cpu/activations.h"
#include "native/cpu/delta.h"
#include "native/cpu/dot.h"
#include "native/cpu/operations.h"

namespace ssm::cpu {

void delta_chunk_scan(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<DeltaChunkScanParams>();
  const auto* q = operation.data<const float>(0);        // (batch, length, key_heads, key_dim)
  const auto* k = operation.data<const float>(1);        // (batch, length, key_heads, key_dim)
  const auto* v = operation.data<const float>(2);        // (batch, length, heads, value_dim)
  const auto* b = operation.data<const float>(3);        // (batch, length, heads)
  const auto* a = operation.data<const float>(4);        // (batch, length, heads)
  const auto* A = operation.data<const float>(5);        // (heads), negative
  const auto* dt_bias = operation.data<const float>(6);  // (heads)
  auto* state = operation.data<float>(7);                // (slots, heads, value_dim, key_dim)
  const auto* rows = operation.data<const uint32_t>(8);  // (batch), each slot once
  auto* out = operation.data<float>(9);                  // (batch, length, heads, value_dim)
  const size_t cost = size_t{p.length} * p.key_dim * p.value_dim * 4;
  threads.parallel_for(size_t{p.batch} * p.heads, cost, [&](size_t begin, size_t end) {
    std::vector<float> query(p.key_dim), key(p.key_dim);
    for (size_t i = begin; i < end; ++i) {
      const size_t r = i / p.heads, h = i % p.heads, key_head = h / (p.heads / p.key_heads);
      if (rows[r] >= p.slots) continue;
      float* S = state + (size_t{rows[r]} * p.heads + h) * p.value_dim * p.key_dim;
      for (size_t token = r * p.length; token < (r + 1) * p.length; ++token) {
        threads.throw_if_cancelled();
        const float* qs = q + token * p.q_stride + key_head * p.key_dim;
        const float* ks = k + token * p.k_stride + key_head * p.key_dim;
        to_length(qs, p.key_dim, dot(qs, qs, p.key_dim), p.eps, p.scale, query.data());
        to_length(ks, p.key_dim, dot(ks, ks, p.key_dim), p.eps, 1.0f, key.data());
        const float beta = sigmoid(b[token * p.b_stride + h]);
        const float decay = std::exp(log_decay(A[h], a[token * p.a_stride + h], dt_bias[h]));
        delta_step(query.data(), key.data(), v + token * p.v_stride + h * p.value_dim, beta, decay,
                   S, out + (token * p.heads + h) * p.value_dim, p.value_dim, p.key_dim);
      }
    }
  });
}

}  // namespace ssm::cpu
