// out[i, n] = activation(sum over k of x[i / sharing, k] * w[chosen[i] * expert_rows + n, k])
//             * gate[i, n]; what is absent is left out (experts.h has the grid)
#include <metal_stdlib>

#include "metal/experts.h"
#include "metal/quantized.h"
#include "metal/quantized_experts_matmul.h"

template <class In, class Out, class Scale>
[[kernel]] void quantized_experts_matmul(
    device const In* x [[buffer(0)]],                        // rows x_stride apart
    device const uint* words [[buffer(1)]],                  // (…, inputs * bits / 32)
    device const Scale* scales [[buffer(2)]],                // (…, inputs / group_size)
    SSM_OPTIONAL(has_biases, 3, device const Scale* biases)  // (…, inputs / group_size)
    device const uint* chosen [[buffer(4)]],                 // (rows)
    SSM_OPTIONAL(gated, 6, device const Out* gate)           // (rows, outputs)
    device Out* out [[buffer(7)]],                           // (rows, outputs)
    constant QuantizedExpertsMatmulParams& p [[buffer(8)]],
    uint2 at [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  SSM_ABSENT(has_biases, device const Scale* biases);
  SSM_ABSENT(gated, device const Out* gate);
  const uint first = (at.x * simdgroups + simdgroup) * kExpertOutputs;
  const uint product = at.y, group_shift = ctz(p.group_size);
  if (first >= p.outputs) return;
  device const In* row = x + ulong(product / p.sharing) * p.x_stride;
  float sums[kExpertOutputs] = {};
  for (uint k = 8 * lane; k < p.inputs; k += 8 * 32) {
    const float4 low = load4(row + k), high = load4(row + k + 4);
    UNROLL for (uint j = 0; j < kExpertOutputs; ++j) {
      const ulong n = expert_row(chosen[product], first + j, p);
      const Eight eight = load_eight(words + n * row_words(p.inputs), k);
      const GroupNumbers numbers =
          numbers_of(scales, biases, n * (p.inputs >> group_shift) + (k >> group_shift));
      sums[j] +=
          dot(low, dequantized(eight, 0, numbers)) + dot(high, dequantized(eight, 1, numbers));
    }
  }
  store_outputs(sums, first, product, lane, gate, out, p);
}

// The types of x, out and the scales.
INSTANTIATE(quantized_experts_matmul, (float32, float16), (float32, float16),
            (float32, float16, bfloat16, uint8));
