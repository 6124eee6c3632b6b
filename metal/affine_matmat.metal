// out[r, n] = activation(sum over k of x[r, k] * (scale * q[n, k] + bias of the group) + bias[n])
//             * gate[r, n] + residual[r, n]; what is absent is left out (linear.h)
//
// The kernel of affine_matmul for many rows of x; any rows and outputs, any inputs that groups
// divide, float32 accumulation: tiles of 32 x 32 outputs (tile_product.h). Weights become float32
// while a tile is loaded. x comes normed already (norm_rows.metal).
// Grid: x tiles of outputs, y tiles of rows; threadgroups of kTileThreads; threadgroup memory
// 2 * kTileBytes.
#include <metal_stdlib>

#include "affine.h"
#include "affine_matmul.h"
#include "linear.h"
#include "tile_product.h"

template <uint bits, class In, class Out, class Scale>
[[kernel]] void affine_matmat(
    device const In* x [[buffer(0)]],                    // (rows, inputs), rows x_stride apart
    device const uint* words [[buffer(1)]],              // (outputs, inputs * bits / 32)
    device const Scale* scales [[buffer(2)]],            // (outputs, inputs / group_size)
    device const Scale* biases [[buffer(3)]],            // (outputs, inputs / group_size)
    SSM_OPTIONAL(has_bias, 4, device const float* bias)  // (outputs)
    SSM_OPTIONAL(gated, 7, device const Out* gate)       // (rows, outputs)
    SSM_OPTIONAL(has_residual, 8, device const Out* residual)  // (rows, outputs)
    device Out* out [[buffer(9)]],                             // (rows, outputs); may be residual
    constant AffineMatmulParams& p [[buffer(10)]],
    threadgroup float* tiles [[threadgroup(0)]],  // of x, then of w: (kTile, kTileStride) each
    uint2 tile [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  SSM_ABSENT(has_bias, device const float* bias);
  SSM_ABSENT(gated, device const Out* gate);
  SSM_ABSENT(has_residual, device const Out* residual);
  constexpr uint kWordValues = 32 / bits;
  const uint group_shift = ctz(p.group_size);  // a division would cost more
  const uint row = tile.y * kTile, col = tile.x * kTile;
  const uint rows = p.rows - row, cols = p.outputs - col;  // left, of this tile on
  device const In* xs = x + ulong(row) * p.x_stride;
  threadgroup float* x_tile = tiles;
  threadgroup float* w_tile = tiles + kTile * kTileStride;

  // The part of the weight that this thread loads: beyond the last output the last one again. A
  // tile is 32 inputs wide, so it lies in one group.
  const uint w_row = row_in_tile(thread_index), w_col = column_in_tile(thread_index);
  const ulong n = min(col + w_row, p.outputs - 1);
  device const uint* w = words + n * (p.inputs / kWordValues) + w_col / kWordValues;
  const ulong groups = n * (p.inputs >> group_shift);
  threadgroup float4* to = (threadgroup float4*)(w_tile + w_row * kTileStride + w_col);

  Product sum;
  clear(sum);
  for (uint k = 0; k < p.inputs; k += kTile) {
    load_rows(x_tile, xs + k, p.x_stride, rows, uint(kTile), thread_index, 1.0f);
    const float scale = float(scales[groups + (k >> group_shift)]);
    const float offset = float(biases[groups + (k >> group_shift)]);
    for (uint i = 0; i < 2; ++i) {
      const uint word = w[k / kWordValues + 4 * i / kWordValues];
      to[i] = scale * quarter_of(word, bits, i) + offset;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    add_product<false, true>(sum, x_tile, w_tile, simdgroup);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  store_product(sum, tiles, simdgroup);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint i = thread_index; i < kTile * kTile; i += kTileThreads) {
    const uint r = i / kTile, c = i % kTile;
    if (r >= rows || c >= cols) continue;
    const ulong at = ulong(row + r) * p.outputs + col + c;
    store_linear(tiles[r * kTileStride + c], col + c, at, bias, gate, residual_of(residual, at),
                 out);
  }
}

// The bits, then the types of x, out and the scales.
INSTANTIATE(affine_matmat, (4, 8), (float32, float16), (float32, float16),
            (float32, float16, bfloat16));
