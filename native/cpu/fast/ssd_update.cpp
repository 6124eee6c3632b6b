// What native/cpu/ssd_update.cpp computes.
#include <cmath>

#include "cpu/activations.h"
#include "cpu/fast/operations.h"

namespace ssm::cpu::fast {

void ssd_update(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
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
      kernels.ssd_step(x + b * p.x_stride + h * p.head_dim, step, std::exp(step * A[h]),
                       B + b * p.b_stride + g * p.d_state, C + b * p.c_stride + g * p.d_state, D[h],
                       state + i * p.head_dim * p.d_state, out + i * p.head_dim, p.head_dim,
                       p.d_state);
    }
  });
}

}  // namespace ssm::cpu::fast
