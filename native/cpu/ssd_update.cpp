// One token of the Mamba-2 recurrence, for each head h and row p of its state:
//   dt      = clamp(softplus(dt[h] + dt_bias[h]), dt_min, dt_max)
//   S[p, :] = exp(dt * A[h]) * S[p, :] + dt * x[h, p] * B[g, :]
//   y[h, p] = S[p, :] . C[g, :] + D[h] * x[h, p]              g = h / (heads / groups)
// (Dao and Gu, "Transformers are SSMs", 2024; mamba_ssm: selective_state_update)
#include <cmath>

#include "activations.h"
#include "dot.h"
#include "operations.h"

namespace ssm::cpu {

void ssd_update(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<SsdUpdateParams>();
  const auto* x = operation.data<const float>(0);        // (batch, heads, head_dim)
  const auto* dt = operation.data<const float>(1);       // (batch, heads)
  const auto* A = operation.data<const float>(2);        // (heads), negative
  const auto* B = operation.data<const float>(3);        // (batch, groups, d_state)
  const auto* C = operation.data<const float>(4);        // (batch, groups, d_state)
  const auto* D = operation.data<const float>(5);        // (heads)
  const auto* dt_bias = operation.data<const float>(6);  // (heads)
  auto* state = operation.data<float>(7);                // (batch, heads, head_dim, d_state)
  auto* out = operation.data<float>(8);                  // (batch, heads, head_dim)
  const size_t cost = size_t{p.head_dim} * p.d_state * 3;
  threads.parallel_for(size_t{p.batch} * p.heads, cost, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      const size_t b = i / p.heads, h = i % p.heads, g = h / (p.heads / p.groups);
      const float step = step_size(dt[b * p.dt_stride + h], dt_bias[h], p.dt_min, p.dt_max);
      const float decay = std::exp(step * A[h]);
      const float* xs = x + b * p.x_stride + h * p.head_dim;
      const float* Bs = B + b * p.b_stride + g * p.d_state;
      const float* Cs = C + b * p.c_stride + g * p.d_state;
      for (size_t row = 0; row < p.head_dim; ++row) {
        float* S = state + (i * p.head_dim + row) * p.d_state;
        const float input = step * xs[row];
        for (size_t n = 0; n < p.d_state; ++n) S[n] = decay * S[n] + input * Bs[n];
        out[i * p.head_dim + row] = dot(S, Cs, p.d_state) + D[h] * xs[row];
      }
    }
  });
}

}  // namespace ssm::cpu
