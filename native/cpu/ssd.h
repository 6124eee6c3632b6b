// One token of the Mamba-2 recurrence for one head, which ssd_update and mamba2_update share:
//   S[p, :] = exp(step * A) * S[p, :] + step * x[p] * B
//   y[p]    = S[p, :] . C + D * x[p]
// (Dao and Gu, "Transformers are SSMs", 2024; mamba_ssm: selective_state_update)
#pragma once

#include <cmath>
#include <cstddef>

#include "dot.h"

namespace ssm::cpu {

// x and y (head_dim), B and C (d_state), S (head_dim, d_state) updated in place; `step` is dt after
// bias, softplus and limits.
inline void ssd_step(const float* x, float step, float A, const float* B, const float* C, float D,
                     float* S, float* y, size_t head_dim, size_t d_state) {
  const float decay = std::exp(step * A);
  for (size_t row = 0; row < head_dim; ++row, S += d_state) {
    const float input = step * x[row];
    for (size_t n = 0; n < d_state; ++n) S[n] = decay * S[n] + input * B[n];
    y[row] = dot(S, C, d_state) + D * x[row];
  }
}

}  // namespace ssm::cpu
