// out[r, n] = activation(sum over k of x[r, k] * (scale * q[n, k] + bias of the group) + bias[n])
//             * gate[r, n] + residual[r, n]; what is absent is left out (linear.h)
//
// The kernel of quantized_matmul for chunks; any rows and outputs, any inputs that groups
// divide, float32 accumulation: tiles of 32 x 32 or 64 x 64 outputs (linear_tile.h), the larger
// where they are enough to fill the GPU. Weights become numbers of the type of x while a tile is
// loaded. x comes normed already (norm_rows.metal), in float16 where
// activations are.
// Grid: x tiles of outputs, y tiles of rows; threadgroups of kTileThreads; threadgroup memory
// linear_tile_bytes().
#include <metal_stdlib>

#include "metal/linear.h"
#include "metal/linear_tile.h"
#include "metal/quantized_matmul.h"
#include "metal/quantized_tile.h"

template <uint size, class In, class Out, class Scale>
[[kernel]] void quantized_matmat(
    device const In* x [[buffer(0)]],                        // (rows, inputs), rows x_stride apart
    device const uint* words [[buffer(1)]],                  // (outputs, inputs * bits / 32)
    device const Scale* scales [[buffer(2)]],                // (outputs, inputs / group_size)
    SSM_OPTIONAL(has_biases, 3, device const Scale* biases)  // (outputs, inputs / group_size)
    SSM_OPTIONAL(has_scale, 4, device const float* scale)    // (outputs)
    SSM_OPTIONAL(has_bias, 5, device const float* bias)      // (outputs)
    SSM_OPTIONAL(gated, 8, device const Out* gate)           // (rows, outputs)
    SSM_OPTIONAL(has_residual, 9, device const Out* residual)  // (rows, outputs)
    device Out* out [[buffer(10)]],                            // (rows, outputs); may be residual
    constant QuantizedMatmulParams& p [[buffer(11)]],
    threadgroup float* memory [[threadgroup(0)]],  // a block of x and one of w
    uint2 tile [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  SSM_ABSENT(has_biases, device const Scale* biases);
  SSM_ABSENT(has_scale, device const float* scale);
  SSM_ABSENT(has_bias, device const float* bias);
  SSM_ABSENT(gated, device const Out* gate);
  SSM_ABSENT(has_residual, device const Out* residual);
  const TilePlace place = tile_place(tile, size, p.rows, p.outputs);
  device const In* xs = x + ulong(place.row) * p.x_stride;
  threadgroup In* x_tile = (threadgroup In*)memory;
  threadgroup In* w_tile = x_tile + size * tile_stride<In>();
  TileSums<size> sums;
  clear(sums);
  for (uint k = 0; k < p.inputs; k += kTile) {
    load_block<In, size>(x_tile, xs + k, p.x_stride, place.rows, p.inputs - k, thread_index);
    UNROLL for (uint i = 0; i < size; i += 32) {
      // Beyond the last output the last one again.
      const ulong n = min(place.col + i + row_of_thread(thread_index), p.outputs - 1);
      load_quantized(w_tile + i * tile_stride<In>(), words, scales, biases, n, k, p.inputs,
                     p.group_size, thread_index);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    add_block(sums, x_tile, w_tile, simdgroup);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  store_tile(sums, memory, place, scale, bias, gate, residual, out, thread_index, simdgroup);
}

// The size of a tile, then the types of x, out and the scales.
INSTANTIATE(quantized_matmat, (32, 64), (float32, float16), (float32, float16),
            (float32, float16, bfloat16, uint8));
