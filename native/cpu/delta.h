// The gated delta rule, which delta_update and delta_chunk_scan share. For each head, with the
// state S (value_dim, key_dim), q and k of length 1 (q times `scale` besides):
//   S = exp(A softplus(a + dt_bias)) S
//   u = sigmoid(b) (v - S k)          what the state should hold for k, less what it does
//   S = S + u (outer) k
//   o = S q
// (Yang, Kautz and Hatamizadeh, "Gated delta networks", 2024, equation 10; gates and norms as in
// Qwen3.5. The state stands transposed there.)
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "metal/delta_update.h"
#include "native/cpu/activations.h"
#include "native/cpu/conv1d.h"
#include "native/cpu/dot.h"
#include "native/cpu/operations.h"

namespace ssm::cpu {

// out = scale * x / |x|, with eps in the square of the length, `squares`; out may be x.
inline void to_length(const float* x, size_t n, float squares, float eps, float scale, float* out) {
  const float factor = scale / std::sqrt(squares + eps);
  for (size_t i = 0; i < n; ++i) out[i] = x[i] * factor;
}

// The logarithm of what a token leaves of the state, at most 0.
inline float log_decay(float A, float a, float dt_bias) { return A * softplus(a + dt_bias); }

// One token of one head: v and o (value_dim), q and k (key_dim) normed, S (value_dim, key_dim)
// updated in place; `beta` is sigmoid(b), `decay` the factor of S.
inline void delta_step(const float* q, const float* k, const float* v, float beta, float decay,
                       float* S, float* o, size_t value_dim, size_t key_dim) {
  for (size_t row = 0; row < value_dim; ++row, S += key_dim) {
    for (size_t n = 0; n < key_dim; ++n) S[n] *= decay;
    const float u = beta * (v[row] - dot(S, k, key_dim));
    for (size_t n = 0; n < key_dim; ++n) S[n] += u * k[n];
    o[row] = dot(S, q, key_dim);
  }
}

// delta_update (delta_update.cpp has the formulas). `loops` has conv1d_row, delta_step,
// sum_of_squares and gate_row, as cpu/fast/kernels.h describes them. First q and k, which several
// heads may share; then each head does all of its own work in one pass over its state: the
// convolution of v, the update, the gate and the squares.
template <class Loops>
void update_delta(const Operation& operation, ThreadPool& threads, const Loops& loops) {
  const auto p = operation.params<DeltaUpdateParams>();
  const size_t keys = size_t{p.key_heads} * p.key_dim, values = size_t{p.heads} * p.value_dim;
  const size_t channels = 2 * keys + values;
  const auto* qkv = operation.data<const float>(0);          // (batch, channels), q | k | v
  const auto* z = operation.data<const float>(1);            // (batch, heads, value_dim)
  const auto* b = operation.data<const float>(2);            // (batch, heads)
  const auto* a = operation.data<const float>(3);            // (batch, heads)
  const auto* conv_weight = operation.data<const float>(4);  // (channels, width)
  auto* conv_state = operation.data<float>(5);               // (slots, width, channels)
  const auto* A = operation.data<const float>(6);            // (heads), negative
  const auto* dt_bias = operation.data<const float>(7);      // (heads)
  auto* state = operation.data<float>(8);                    // (slots, heads, value_dim, key_dim)
  const auto* position = operation.data<const uint32_t>(9);  // (batch)
  const auto* rows = operation.data<const uint32_t>(10);     // (batch), each slot once
  auto* out = operation.data<float>(11);                     // (batch, heads, value_dim)
  auto* squares = operation.data<float>(12);                 // (batch, heads)

  std::vector<std::optional<ConvStep>> steps(p.batch);  // of rows that have a slot
  for (size_t r = 0; r < p.batch; ++r) {
    if (rows[r] >= p.slots) continue;
    steps[r].emplace(conv_state + size_t{rows[r]} * p.width * channels, position[r], conv_weight,
                     nullptr, channels, p.width, kSilu);
  }
  // Heads of q, then heads of k, of each row.
  std::vector<float> normed(size_t{p.batch} * 2 * keys);
  const size_t parts = 2 * size_t{p.key_heads};
  threads.parallel_for(p.batch * parts, size_t{p.key_dim} * (p.width + 8),
                       [&](size_t begin, size_t end) {
                         std::vector<const float*> taps(p.width);
                         for (size_t i = begin; i < end; ++i) {
                           const size_t r = i / parts, first = i % parts * p.key_dim;
                           if (!steps[r]) continue;
                           float* to = normed.data() + i * p.key_dim;
                           steps[r]->run(loops.conv1d_row, qkv + r * p.qkv_stride + first, first,
                                         p.key_dim, taps.data(), to);
                           to_length(to, p.key_dim, loops.sum_of_squares(to, p.key_dim), p.eps,
                                     first < keys ? p.scale : 1.0f, to);
                         }
                       });

  const size_t cost = size_t{p.value_dim} * p.key_dim * 4;
  threads.parallel_for(size_t{p.batch} * p.heads, cost, [&](size_t begin, size_t end) {
    std::vector<const float*> taps(p.width);
    std::vector<float> v(p.value_dim);
    for (size_t i = begin; i < end; ++i) {
      const size_t r = i / p.heads, h = i % p.heads, key_head = h / (p.heads / p.key_heads);
      if (!steps[r]) continue;
      const size_t first = 2 * keys + h * p.value_dim;
      steps[r]->run(loops.conv1d_row, qkv + r * p.qkv_stride + first, first, p.value_dim,
                    taps.data(), v.data());
      const float* q = normed.data() + r * 2 * keys + key_head * p.key_dim;
      const float beta = sigmoid(b[r * p.b_stride + h]);
      const float decay = std::exp(log_decay(A[h], a[r * p.a_stride + h], dt_bias[h]));
      float* S = state + (size_t{rows[r]} * p.heads + h) * p.value_dim * p.key_dim;
      float* o = out + i * p.value_dim;
      loops.delta_step(q, q + keys, v.data(), beta, decay, S, o, p.value_dim, p.key_dim);
      squares[i] = loops.sum_of_squares(o, p.value_dim);
      loops.gate_row(o, z + r * p.z_stride + h * p.value_dim, p.value_dim, o);
    }
  });
}

}  // namespace ssm::cpu
