// out[i, n] = activation(sum over k of x[i / sharing, k] * w[chosen[i] * expert_rows + n, k])
//             * gate[i, n]; what is absent is left out
//
// The kernel of quantized_experts_matmul for chunks (expert_tile.h has the grid); float32
// accumulation. Weights become numbers of the type of x while a tile is loaded.
#include <metal_stdlib>

#include "metal/expert_tile.h"
#include "metal/quantized_experts_matmul.h"
#include "metal/quantized_tile.h"

template <class In, class Out, class Scale>
[[kernel]] void quantized_experts_matmat(
    device const In* x [[buffer(0)]],                        // rows x_stride apart
    device const uint* words [[buffer(1)]],                  // (…, inputs * bits / 32)
    device const Scale* scales [[buffer(2)]],                // (…, inputs / group_size)
    SSM_OPTIONAL(has_biases, 3, device const Scale* biases)  // (…, inputs / group_size)
    device const uint* chosen [[buffer(4)]],                 // (rows)
    device const uint* tiles [[buffer(5)]],                  // (…, kExpertTile)
    SSM_OPTIONAL(gated, 6, device const Out* gate)           // (rows, outputs)
    device Out* out [[buffer(7)]],                           // (rows, outputs)
    constant QuantizedExpertsMatmulParams& p [[buffer(8)]],
    threadgroup float* memory [[threadgroup(0)]],  // a block of x and one of w
    uint2 tile [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  SSM_ABSENT(has_biases, device const Scale* biases);
  SSM_ABSENT(gated, device const Out* gate);
  device const uint* products = tiles + ulong(tile.y) * kExpertTile;
  if (products[0] >= p.rows) return;
  const uint col = tile.x * kTile;
  const ExpertRow<In> row = expert_row_of(x, products, thread_index, p);
  // Beyond the last output the last one again.
  const ulong n = expert_row(chosen[products[0]], col + row_of_thread(thread_index), p);
  threadgroup In* x_tile = (threadgroup In*)memory;
  threadgroup In* w_tile = x_tile + kTile * tile_stride<In>();
  TileSums<kTile> sums;
  clear(sums);
  for (uint k = 0; k < p.inputs; k += kTile) {
    load_part(x_tile, row_of_thread(thread_index), row.x + k, row.inside, p.inputs - k,
              thread_index);
    load_quantized(w_tile, words, scales, biases, n, k, p.inputs, p.group_size, thread_index);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    add_block(sums, x_tile, w_tile, simdgroup);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  store_products(sums, memory, products, col, gate, out, thread_index, simdgroup, p);
}

// The types of x, out and the scales.
INSTANTIATE(quantized_experts_matmat, (float32, float16), (float32, float16),
            (float32, float16, bfloat16, uint8));
