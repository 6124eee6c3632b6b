// The frame of mamba2_update, which the plain loops and the kernels of cpu/fast/ share.
#pragma once

#include <cmath>
#include <optional>
#include <vector>

#include "metal/mamba2_update.h"
#include "native/cpu/activations.h"
#include "native/cpu/conv1d.h"
#include "native/cpu/operations.h"

namespace ssm::cpu {

// mamba2_update (mamba2_update.cpp has the formulas). `loops` has conv1d_row, ssd_step,
// sum_of_squares and gate_row, as cpu/fast/kernels.h describes them. The convolution of B and C
// comes first, on one thread: it is small, and all heads of a group need it. Then each head does
// all of its own work in one pass over its state: the convolution of x, the update, y, the gate and
// the squares.
template <class Loops>
void update_mamba2(const Operation& operation, ThreadPool& threads, const Loops& loops) {
  const auto p = operation.params<Mamba2UpdateParams>();
  const size_t inner = size_t{p.heads} * p.head_dim;
  const size_t shared = 2 * size_t{p.groups} * p.d_state;  // channels of B and C
  const size_t channels = inner + shared;
  const size_t columns = inner + channels + p.heads;
  const auto* zxBCdt = operation.data<const float>(0);       // (batch, columns)
  const auto* conv_weight = operation.data<const float>(1);  // (channels, width)
  const auto* conv_bias = operation.data<const float>(2);    // (channels), if has_bias
  auto* conv_state = operation.data<float>(3);               // (slots, width, channels)
  const auto* A = operation.data<const float>(4);            // (heads), negative
  const auto* D = operation.data<const float>(5);            // (heads)
  const auto* dt_bias = operation.data<const float>(6);      // (heads)
  auto* ssm_state = operation.data<float>(7);                // (slots, heads, head_dim, d_state)
  const auto* position = operation.data<const uint32_t>(8);  // (batch)
  const auto* rows = operation.data<const uint32_t>(9);      // (batch), each slot once
  auto* out = operation.data<float>(10);                     // (batch, heads, head_dim)
  auto* squares = operation.data<float>(11);                 // (batch, heads)

  const size_t first_z = p.gate_after != 0 ? channels : 0;
  const size_t first_x = p.gate_after != 0 ? 0 : inner;

  std::vector<float> BC(p.batch * shared);
  std::vector<std::optional<ConvStep>> steps(p.batch);  // of rows that have a slot
  std::vector<const float*> taps(p.width);
  for (size_t b = 0; b < p.batch; ++b) {
    if (rows[b] >= p.slots) continue;
    steps[b].emplace(conv_state + size_t{rows[b]} * p.width * channels, position[b], conv_weight,
                     conv_bias, channels, p.width, p.activation);
    steps[b]->run(loops.conv1d_row, zxBCdt + b * columns + first_x + inner, inner, shared,
                  taps.data(), BC.data() + b * shared);
  }

  const size_t cost = size_t{p.head_dim} * p.d_state * 3;
  threads.parallel_for(size_t{p.batch} * p.heads, cost, [&](size_t begin, size_t end) {
    std::vector<const float*> own_taps(p.width);
    std::vector<float> x(p.head_dim);
    for (size_t i = begin; i < end; ++i) {
      const size_t b = i / p.heads, h = i % p.heads, g = h / (p.heads / p.groups);
      if (!steps[b]) continue;
      float* S = ssm_state + (size_t{rows[b]} * p.heads + h) * p.head_dim * p.d_state;
      const float* z = zxBCdt + b * columns + first_z + h * p.head_dim;
      const float* input = zxBCdt + b * columns + first_x + h * p.head_dim;
      const float dt = zxBCdt[b * columns + inner + channels + h];
      const float step = step_size(dt, dt_bias[h], p.dt_min, p.dt_max);
      const float* B = BC.data() + b * shared + g * p.d_state;
      const float* C = B + shared / 2;
      float* y = out + i * p.head_dim;
      steps[b]->run(loops.conv1d_row, input, h * p.head_dim, p.head_dim, own_taps.data(), x.data());
      loops.ssd_step(x.data(), p.discrete != 0 ? 1.0f : step, std::exp(step * A[h]), B, C, D[h], S,
                     y, p.head_dim, p.d_state);
      if (p.norm_before_gate != 0) squares[i] = loops.sum_of_squares(y, p.head_dim);
      loops.gate_row(y, z, p.head_dim, y);
      if (p.norm_before_gate == 0) squares[i] = loops.sum_of_squares(y, p.head_dim);
    }
  });
}

}  // namespace ssm::cpu
