// The Mamba-2 recurrence of ssd_update over many tokens, in the chunked SSD form: inside a chunk
// as (masked) matrix products, from chunk to chunk through the state. Cost grows linearly with the
// number of tokens. With a[t] = sum of dt * A over the tokens of the chunk up to t:
//   y[t] = exp(a[t]) * S C[t]                                         what earlier chunks left
//        + sum over s <= t of exp(a[t] - a[s]) dt[s] (C[t] . B[s]) x[s]    inside the chunk
//        + D x[t]
//   S    = exp(a[last]) S + sum over s of exp(a[last] - a[s]) dt[s] x[s] (outer) B[s]
// Discrete: x[s] is not multiplied by dt[s].
// (Dao and Gu, "Transformers are SSMs", 2024, section 6 and listing 1)
#include "metal/ssd_chunk_scan.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "native/cpu/activations.h"
#include "native/cpu/dot.h"
#include "native/cpu/operations.h"

namespace ssm::cpu {

namespace {

// The inputs of one head for the tokens of a chunk, its state, and its part of the output.
struct Head {
  const SsdChunkScanParams& p;
  size_t length;    // of the chunk
  const float* x;   // (length, head_dim), rows x_stride apart
  const float* dt;  // (length), dt_stride apart
  const float* B;   // (length, d_state), rows b_stride apart
  const float* C;   // (length, d_state), rows c_stride apart
  float A, D, dt_bias;
  float* S;    // (head_dim, d_state)
  float* out;  // (length, head_dim), rows of all heads apart
};

// What is known of the tokens of a chunk, and a weight for each.
struct Tokens {
  explicit Tokens(size_t longest) : factor(longest), a(longest), weight(longest) {}
  std::vector<float> factor;  // of x: dt, discrete: 1
  // In double: differences of long sums are exponents, and their error is relative error in y.
  std::vector<double> a;
  std::vector<float> weight;
};

void find_steps(const Head& h, Tokens& tokens) {
  double sum = 0;
  for (size_t t = 0; t < h.length; ++t) {
    const float step = step_size(h.dt[t * h.p.dt_stride], h.dt_bias, h.p.dt_min, h.p.dt_max);
    tokens.factor[t] = h.p.discrete != 0 ? 1.0f : step;
    sum += static_cast<double>(step) * h.A;
    tokens.a[t] = sum;
  }
}

// y of token t: what earlier chunks left, D x, and what the tokens up to t give.
void write_output(const Head& h, Tokens& tokens, size_t t) {
  const float* C = h.C + t * h.p.c_stride;
  const float* x = h.x + t * h.p.x_stride;
  float* y = h.out + t * h.p.heads * h.p.head_dim;
  const float carried = static_cast<float>(std::exp(tokens.a[t]));
  for (size_t row = 0; row < h.p.head_dim; ++row) {
    y[row] = carried * dot(h.S + row * h.p.d_state, C, h.p.d_state) + h.D * x[row];
  }
  for (size_t s = 0; s <= t; ++s) {
    const float decay = static_cast<float>(std::exp(tokens.a[t] - tokens.a[s]));
    tokens.weight[s] = decay * tokens.factor[s] * dot(C, h.B + s * h.p.b_stride, h.p.d_state);
  }
  for (size_t s = 0; s <= t; ++s) {
    const float* xs = h.x + s * h.p.x_stride;
    for (size_t row = 0; row < h.p.head_dim; ++row) y[row] += tokens.weight[s] * xs[row];
  }
}

// The state after the chunk.
void update_state(const Head& h, const Tokens& tokens) {
  const double sum = tokens.a[h.length - 1];
  const float decay = static_cast<float>(std::exp(sum));
  for (size_t n = 0; n < size_t{h.p.head_dim} * h.p.d_state; ++n) h.S[n] *= decay;
  for (size_t s = 0; s < h.length; ++s) {
    const float* x = h.x + s * h.p.x_stride;
    const float* B = h.B + s * h.p.b_stride;
    const float scale = static_cast<float>(std::exp(sum - tokens.a[s])) * tokens.factor[s];
    for (size_t row = 0; row < h.p.head_dim; ++row) {
      const float input = scale * x[row];
      for (size_t n = 0; n < h.p.d_state; ++n) h.S[row * h.p.d_state + n] += input * B[n];
    }
  }
}

}  // namespace

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
    Tokens tokens(std::min(p.chunk_size, p.length));
    for (size_t i = begin; i < end; ++i) {
      const size_t b = i / p.heads, h = i % p.heads, g = h / (p.heads / p.groups);
      if (rows[b] >= p.slots) continue;
      for (size_t first = 0; first < p.length; first += p.chunk_size) {
        threads.throw_if_cancelled();
        const size_t token = b * p.length + first;
        const Head head = {
            .p = p,
            .length = std::min<size_t>(p.chunk_size, p.length - first),
            .x = x + token * p.x_stride + h * p.head_dim,
            .dt = dt + token * p.dt_stride + h,
            .B = B + token * p.b_stride + g * p.d_state,
            .C = C + token * p.c_stride + g * p.d_state,
            .A = A[h],
            .D = D[h],
            .dt_bias = dt_bias[h],
            .S = state + (size_t{rows[b]} * p.heads + h) * p.head_dim * p.d_state,
            .out = out + (token * p.heads + h) * p.head_dim,
        };
        find_steps(head, tokens);
        for (size_t t = 0; t < head.length; ++t) write_output(head, tokens, t);
        update_state(head, tokens);
      }
    }
  });
}

}  // namespace ssm::cpu
