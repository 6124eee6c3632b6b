// out[r, c] = scale * sum over i of weights[r, i] * x[r * chosen + i, c] + residual[r, c]
//
// Grid: y a row of out, x four columns a thread; threadgroups of up to 256 threads.
#include <metal_stdlib>

#include "metal/common.h"
#include "metal/mix_experts.h"

SSM_CONSTANT(bool, has_residual);

template <class In, class Out>
[[kernel]] void mix_experts(device const In* x [[buffer(0)]],           // (rows * chosen, cols)
                            device const float* weights [[buffer(1)]],  // (rows, chosen)
                            SSM_OPTIONAL(has_residual, 2,
                                         device const Out* residual)  // (rows, cols)
                            device Out* out [[buffer(3)]],  // (rows, cols); may be residual
                            constant MixExpertsParams& p [[buffer(4)]],
                            uint2 at [[thread_position_in_grid]]) {
  SSM_ABSENT(has_residual, device const Out* residual);
  const uint row = at.y, col = 4 * at.x;
  if (col >= p.cols) return;
  float4 sum = float4(0.0f);
  for (uint i = 0; i < p.chosen; ++i) {
    const ulong product = ulong(row) * p.chosen + i;
    sum += weights[product] * load_some(x + product * p.cols + col, p.cols - col);
  }
  sum *= p.scale;
  const ulong to = ulong(row) * p.cols + col;
  if (has_residual) sum += load_some(residual + to, p.cols - col);
  store_some(out + to, sum, p.cols - col);
}

// The types of x, then of out.
INSTANTIATE(mix_experts, (float32, float16), (float32, float16));
