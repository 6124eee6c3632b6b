// out[i, n] = activation(sum over k of x[i / sharing, k] * w[chosen[i] * expert_rows + n, k])
//             * gate[i, n]; what is absent is left out (experts.h has the grid)
#include <metal_stdlib>

#include "metal/experts.h"
#include "metal/experts_matmul.h"

template <class In, class Out, class Weight>
[[kernel]] void experts_matmul(device const In* x [[buffer(0)]],         // rows x_stride apart
                               device const Weight* w [[buffer(1)]],     // (…, inputs)
                               device const uint* chosen [[buffer(2)]],  // (rows)
                               SSM_OPTIONAL(gated, 4, device const Out* gate)  // (rows, outputs)
                               device Out* out [[buffer(5)]],                  // (rows, outputs)
                               constant ExpertsMatmulParams& p [[buffer(6)]],
                               uint2 at [[threadgroup_position_in_grid]],
                               uint lane [[thread_index_in_simdgroup]],
                               uint simdgroup [[simdgroup_index_in_threadgroup]],
                               uint simdgroups [[simdgroups_per_threadgroup]]) {
  SSM_ABSENT(gated, device const Out* gate);
  const uint first = (at.x * simdgroups + simdgroup) * kExpertOutputs;
  const uint product = at.y;
  if (first >= p.outputs) return;
  device const In* row = x + ulong(product / p.sharing) * p.x_stride;
  device const Weight* weights[kExpertOutputs];
  UNROLL for (uint j = 0; j < kExpertOutputs; ++j) {
    weights[j] = w + expert_row(chosen[product], first + j, p) * p.inputs;
  }
  float sums[kExpertOutputs] = {};
  for (uint k = 4 * lane; k < p.inputs; k += 4 * 32) {
    const float4 values = load_some(row + k, p.inputs - k);
    UNROLL for (uint j = 0; j < kExpertOutputs; ++j) {
      sums[j] += dot(values, load_some(weights[j] + k, p.inputs - k));
    }
  }
  store_outputs(sums, first, product, lane, gate, out, p);
}

// The types of x, out and the weight.
INSTANTIATE(experts_matmul, (float32, float16), (float32, float16), (float32, float16, bfloat16));
