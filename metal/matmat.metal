// out[r, n] = activation(sum over k of x[r, k] * w[n, k] + bias[n]) * gate[r, n] + residual[r, n];
// what is absent is left out (linear.h)
//
// The kernel of matmul for many rows of x; any rows, inputs and outputs, float32 accumulation:
// tiles of 32 x 32 outputs (tile_product.h). Weights become float32 while a tile is loaded. x comes
// normed already (norm_rows.metal).
//
// Grid: x tiles of outputs, y tiles of rows; threadgroups of
// kTileThreads; threadgroup memory 2 * kTileBytes.
#include <metal_stdlib>

#include "linear.h"
#include "matmul.h"
#include "tile_product.h"

template <class In, class Out, class Weight>
[[kernel]] void matmat(device const In* x [[buffer(0)]],      // (rows, inputs), rows x_stride apart
                       device const Weight* w [[buffer(1)]],  // (outputs, inputs)
                       SSM_OPTIONAL(has_bias, 2, device const float* bias)        // (outputs)
                       SSM_OPTIONAL(gated, 5, device const Out* gate)             // (rows, outputs)
                       SSM_OPTIONAL(has_residual, 6, device const Out* residual)  // (rows, outputs)
                       device Out* out [[buffer(7)]],  // (rows, outputs); may be residual
                       constant MatmulParams& p [[buffer(8)]],
                       threadgroup float* tiles
                       [[threadgroup(0)]],  // of x, then of w: (kTile, kTileStride) each
                       uint2 tile [[threadgroup_position_in_grid]],
                       uint thread_index [[thread_index_in_threadgroup]],
                       uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  SSM_ABSENT(has_bias, device const float* bias);
  SSM_ABSENT(gated, device const Out* gate);
  SSM_ABSENT(has_residual, device const Out* residual);
  const uint row = tile.y * kTile, col = tile.x * kTile;
  const uint rows = p.rows - row, cols = p.outputs - col;  // left, of this tile on
  device const In* xs = x + ulong(row) * p.x_stride;
  device const Weight* ws = w + ulong(col) * p.inputs;
  threadgroup float* x_tile = tiles;
  threadgroup float* w_tile = tiles + kTile * kTileStride;
  Product sum;
  clear(sum);
  for (uint k = 0; k < p.inputs; k += kTile) {
    load_rows(x_tile, xs + k, p.x_stride, rows, p.inputs - k, thread_index, 1.0f);
    load_rows(w_tile, ws + k, p.inputs, cols, p.inputs - k, thread_index, 1.0f);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    add_product<false, true>(sum, x_tile, w_tile, simdgroup);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  store_product(sum, tiles, simdgroup);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint i = thread_index; i < kTile * kTile; i += kTileThreads) {
    const uint r = i / kTile, n = i % kTile;
    if (r >= rows || n >= cols) continue;
    const ulong at = ulong(row + r) * p.outputs + col + n;
    store_linear(tiles[r * kTileStride + n], col + n, at, bias, gate, residual_of(residual, at),
                 out);
  }
}

// The types of x, out and the weight.
INSTANTIATE(matmat, (float32, float16), (float32, float16), (float32, float16, bfloat16));
