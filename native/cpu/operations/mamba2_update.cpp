// One token between in_proj and the norm of a Mamba-2 layer; zxBCdt holds z | x | B | C | dt,
// with gate_after x | B | C | z | dt:
//   xBC = activation(conv1d(x | B | C) + bias)       as conv1d_update
//   y   = SSD(x, dt, A, B, C, D)                     as ssd_update
//   out = y * silu(z)
// squares holds the sum of squares of each head of out, or of y when the norm comes before the
// gate.
#include "native/cpu/activations.h"
#include "native/cpu/conv1d.h"
#include "native/cpu/dot.h"
#include "native/cpu/mamba2.h"
#include "native/cpu/operations.h"
#include "native/cpu/ssd.h"

namespace ssm::cpu {

namespace {

struct Loops {
  static constexpr auto conv1d_row = cpu::conv1d_row;
  static constexpr auto ssd_step = cpu::ssd_step;
  static float sum_of_squares(const float* x, size_t n) { return dot(x, x, n); }
  static void gate_row(const float* x, const float* z, size_t n, float* out) {
    for (size_t i = 0; i < n; ++i) out[i] = x[i] * silu(z[i]);
  }
};

}  // namespace

void mamba2_update(const Operation& operation, ThreadPool& threads) {
  update_mamba2(operation, threads, Loops{});
}

}  // namespace ssm::cpu
