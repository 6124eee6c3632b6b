// The Mamba-2 recurrence of ssd_update over many tokens, in the chunked SSD form: inside a chunk
// as (masked) matrix products, from chunk to chunk through the state. Cost grows linearly with the
// number of tokens. With a[t] = sum of dt * A over the tokens of the chunk up to t:
//   y[t] = exp(a[t]) * S C[t]                                         what earlier chunks left
//        + sum over s <= t of exp(a[t] - a[s]) dt[s] (C[t] . B[s]) x[s]    inside the chunk
//        + D x[t]
//   S    = exp(a[last]) S + sum over s of exp(a[last] - a[s]) dt[s] x[s] (outer) B[s]
// (Dao and Gu, "Transformers are SSMs", 2024, section 6 and listing 1)
#include "metal/ssd_chunk_scan.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "native/cpu/activations.h"
#include "native/cpu/dot.h"
#include "native/cpu/operations.h"

namespace ssm::cpu {

void ssd_chunk_scan(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<SsdChunkScanParams>();
  const auto* x = operation.data<const float>(0);        // (batch, length, heads, head_dim)
  const auto* dt = operation.data<const float>(1);       // (batch, length, heads)
  const auto* A = operation.data<const float>(2);        // (heads), negative
  const auto* B = operation.data<const float>(3);        // (batch, length, groups, d_state)
  const auto* C = operation.data<const float>(4);        // (batch, length, groups, d_state)
  const auto* D = operation.data<const float>(5);        // (heads)
  const auto* dt_bias = operation.data<const float>(6);  // (heads)
  auto* state = operation.data<float>(7);                // (slots, heads, head_dim, d_state)
  const auto* rows = operation.data<const uint32_t>(8);  // (batch), each slot once
  auto* out = operation.data<float>(9);                  // (batch, length, heads, head_dim)
  const size_t cost = size_t{p.length} * p.d_state * (2 * p.head_dim + p.chunk_size);
  threads.parallel_for(size_t{p.batch} * p.heads, cost, [&](size_t begin, size_t end) {
    const size_t longest = std::min(p.chunk_size, p.length);
    std::vector<float> step(longest);
    // In double: differences of long sums are exponents, and their error is relative error in y.
    std::vector<double> a(longest);
    std::vector<float> weight(longest);
    for (size_t i = begin; i < end; ++i) {
      const size_t b = i / p.heads, h = i % p.heads, g = h / (p.heads / p.groups);
      if (rows[b] >= p.slots) continue;
      float* S = state + (size_t{rows[b]} * p.heads + h) * p.head_dim * p.d_state;
      for (size_t first = 0; first < p.length; first += p.chunk_size) {
        threads.throw_if_cancelled();
        const size_t length = std::min<size_t>(p.chunk_size, p.length - first);
        const auto token = [&](size_t t) { return b * p.length + first + t; };
        const auto x_of = [&](size_t t) { return x + token(t) * p.x_stride + h * p.head_dim; };
        const auto B_of = [&](size_t t) { return B + token(t) * p.b_stride + g * p.d_state; };
        const auto C_of = [&](size_t t) { return C + token(t) * p.c_stride + g * p.d_state; };

        double sum = 0;
        for (size_t t = 0; t < length; ++t) {
          step[t] = step_size(dt[token(t) * p.dt_stride + h], dt_bias[h], p.dt_min, p.dt_max);
          sum += static_cast<double>(step[t]) * A[h];
          a[t] = sum;
        }

        for (size_t t = 0; t < length; ++t) {
          const float* Ct = C_of(t);
          float* y = out + (token(t) * p.heads + h) * p.head_dim;
          const float carried = static_cast<float>(std::exp(a[t]));
          for (size_t row = 0; row < p.head_dim; ++row) {
            y[row] = carried * dot(S + row * p.d_state, Ct, p.d_state) + D[h] * x_of(t)[row];
          }
          for (size_t s = 0; s <= t; ++s) {
            const float decay = static_cast<float>(std::exp(a[t] - a[s]));
            weight[s] = decay * step[s] * dot(Ct, B_of(s), p.d_state);
          }
          for (size_t s = 0; s <= t; ++s) {
            const float* xs = x_of(s);
            for (size_t row = 0; row < p.head_dim; ++row) y[row] += weight[s] * xs[row];
          }
        }

        const float decay = static_cast<float>(std::exp(sum));
        for (size_t n = 0; n < size_t{p.head_dim} * p.d_state; ++n) S[n] *= decay;
        for (size_t s = 0; s < length; ++s) {
          const float* xs = x_of(s);
          const float* Bs = B_of(s);
          const float scale = static_cast<float>(std::exp(sum - a[s])) * step[s];
          for (size_t row = 0; row < p.head_dim; ++row) {
            const float input = scale * xs[row];
            for (size_t n = 0; n < p.d_state; ++n) S[row * p.d_state + n] += input * Bs[n];
          }
        }
      }
    }
  });
}

}  // namespace ssm::cpu
