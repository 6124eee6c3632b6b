// One token of the Mamba-2 recurrence for one head, which ssd_update and mamba2_update share:
//   S[p, :] = decay * S[p, :] + factor * x[p] * B
//   y[p]    = S[p, :] . C + D * x[p]
// with decay = exp(step * A) and factor = step, or 1 where the recurrence is discrete.
// (Dao and Gu, "Transformers are SSMs", 2024; mamba_ssm: selective_state_update; discrete: Bick et
// al., "Transformers to SSMs", 2024)
#pragma once

#include <cmath>
#include <cstddef>

#include "metal/ssd_update.h"
#include "native/cpu/activations.h"
#include "native/cpu/dot.h"
#include "native/cpu/operations.h"

namespace ssm::cpu {

// x and y (head_dim), B and C (d_state), S (head_dim, d_state) updated in place.
inline void ssd_step(const float* x, float factor, float decay, const float* B, const float* C,
                     float D, float* S, float* y, size_t head_dim, size_t d_state) {
  for (size_t row = 0; row < head_dim; ++row, S += d_state) {
    const float input = factor * x[row];
    for (size_t n = 0; n < d_state; ++n) S[n] = decay * S[n] + input * B[n];
    y[row] = dot(S, C, d_state) + D * x[row];
  }
}

// ssd_update, with ssd_step or a kernel of cpu/fast/ that computes the same.
template <class Step>
void update_ssd(const Operation& operation, ThreadPool& threads, const Step& ssd_step) {
  const auto p = operation.params<SsdUpdateParams>();
  const auto* x = operation.data<const float>(0);        // (batch, heads, head_dim)
  const auto* dt = operation.data<const float>(1);       // (batch, heads)
  const auto* A = operation.data<const float>(2);        // (heads), negative
  const auto* B = operation.data<const float>(3);        // (batch, groups, d_state)
  const auto* C = operation.data<const float>(4);        // (batch, groups, d_state)
  const auto* D = operation.data<const float>(5);        // (heads)
  const auto* dt_bias = operation.data<const float>(6);  // (heads)
  auto* state = operation.data<float>(7);                // (slots, heads, head_dim, d_state)
  const auto* rows = operation.data<const uint32_t>(8);  // (batch), each slot once
  auto* out = operation.data<float>(9);                  // (batch, heads, head_dim)
  const size_t cost = size_t{p.head_dim} * p.d_state * 3;
  threads.parallel_for(size_t{p.batch} * p.heads, cost, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      const size_t b = i / p.heads, h = i % p.heads, g = h / (p.heads / p.groups);
      if (rows[b] >= p.slots) continue;
      const float step = step_size(dt[b * p.dt_stride + h], dt_bias[h], p.dt_min, p.dt_max);
      float* S = state + (size_t{rows[b]} * p.heads + h) * p.head_dim * p.d_state;
      ssd_step(x + b * p.x_stride + h * p.head_dim, p.discrete != 0 ? 1.0f : step,
               std::exp(step * A[h]), B + b * p.b_stride + g * p.d_state,
               C + b * p.c_stride + g * p.d_state, D[h], S, out + i * p.head_dim, p.head_dim,
               p.d_state);
    }
  });
}

}  // namespace ssm::cpu
