// One token between in_proj and the norm of a Mamba-2 layer; zxBCdt holds z | x | B | C | dt:
//   xBC = silu(conv1d(x | B | C) + bias)             as conv1d_update
//   y   = SSD(x, dt, A, B, C, D)                     as ssd_update
//   out = y * silu(z)
// squares holds the sum of squares of each head of out, or of y when the norm comes before the
// gate.
#include <vector>

#include "activations.h"
#include "conv1d.h"
#include "dot.h"
#include "operations.h"
#include "ssd.h"

namespace ssm::cpu {

void mamba2_update(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<Mamba2UpdateParams>();
  const size_t inner = size_t{p.heads} * p.head_dim;
  const size_t channels = inner + 2 * size_t{p.groups} * p.d_state;
  const size_t columns = inner + channels + p.heads;
  const auto* zxBCdt = operation.data<const float>(0);       // (batch, columns)
  const auto* conv_weight = operation.data<const float>(1);  // (channels, width)
  const auto* conv_bias = operation.data<const float>(2);    // (channels), if has_bias
  auto* conv_state = operation.data<float>(3);               // (batch, width, channels)
  const auto* A = operation.data<const float>(4);            // (heads), negative
  const auto* D = operation.data<const float>(5);            // (heads)
  const auto* dt_bias = operation.data<const float>(6);      // (heads)
  auto* ssm_state = operation.data<float>(7);                // (batch, heads, head_dim, d_state)
  const auto* position = operation.data<const uint32_t>(8);  // (batch)
  auto* out = operation.data<float>(9);                      // (batch, heads, head_dim)
  auto* squares = operation.data<float>(10);                 // (batch, heads)

  std::vector<float> xBC(p.batch * channels);
  threads.parallel_for(p.batch, channels * p.width * 4, [&](size_t begin, size_t end) {
    for (size_t b = begin; b < end; ++b) {
      conv1d_step(zxBCdt + b * columns + inner, position[b], conv_weight, conv_bias,
                  conv_state + b * p.width * channels, xBC.data() + b * channels, channels,
                  p.width);
    }
  });

  const size_t cost = size_t{p.head_dim} * p.d_state * 3;
  threads.parallel_for(size_t{p.batch} * p.heads, cost, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      const size_t b = i / p.heads, h = i % p.heads, g = h / (p.heads / p.groups);
      const float* z = zxBCdt + b * columns + h * p.head_dim;
      const float dt = zxBCdt[b * columns + inner + channels + h];
      const float step = step_size(dt, dt_bias[h], p.dt_min, p.dt_max);
      const float* x = xBC.data() + b * channels;
      const float* B = x + inner + g * p.d_state;
      const float* C = B + size_t{p.groups} * p.d_state;
      float* y = out + i * p.head_dim;
      ssd_step(x + h * p.head_dim, step, A[h], B, C, D[h], ssm_state + i * p.head_dim * p.d_state,
               y, p.head_dim, p.d_state);
      if (p.norm_before_gate != 0) squares[i] = dot(y, y, p.head_dim);
      for (size_t row = 0; row < p.head_dim; ++row) y[row] *= silu(z[row]);
      if (p.norm_before_gate == 0) squares[i] = dot(y, y, p.head_dim);
    }
  });
}

}  // namespace ssm::cpu
