// One token between the projections of a gated DeltaNet layer; qkv holds q | k | v:
//   qkv = silu(conv1d(qkv))                          as conv1d_update
//   o   = the gated delta rule (native/cpu/delta.h) of q, k, v, b and a
//   out = o * silu(z)
// squares holds the sum of squares of each head of o, for the norm that comes before the gate.
#include "native/cpu/conv1d.h"
#include "native/cpu/delta.h"
#include "native/cpu/dot.h"
#include "native/cpu/operations.h"

namespace ssm::cpu {

namespace {

struct DeltaLoops {
  static constexpr auto conv1d_row = cpu::conv1d_row;
  static constexpr auto delta_step = cpu::delta_step;
  static float sum_of_squares(const float* x, size_t n) { return dot(x, x, n); }
  static void gate_row(const float* x, const float* z, size_t n, float* out) {
    for (size_t i = 0; i < n; ++i) out[i] = x[i] * silu(z[i]);
  }
};

}  // namespace

void delta_update(const Operation& operation, ThreadPool& threads) {
  update_delta(operation, threads, DeltaLoops{});
}

}  // namespace ssm::cpu
