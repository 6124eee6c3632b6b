// out[r, n] = activation(sum over k of x[r, k] * w[n, k] + bias[n]) * gate[r, n] + residual[r, n];
// what is absent is left out (linear.h)
//
// The kernel of matmul for chunks; any rows, inputs and outputs, float32 accumulation:
// tiles of 32 x 32 or 64 x 64 outputs (linear_tile.h), the larger where they are enough to fill the
// GPU. Weights become the type of a tile while it is loaded. x comes normed already
// (norm_rows.metal), in float16 where activations are.
//
// Grid: x tiles of outputs, y tiles of rows; threadgroups of kTileThreads; threadgroup memory
// linear_tile_bytes().
#include <metal_stdlib>

#include "metal/linear.h"
#include "metal/linear_tile.h"
#include "metal/matmul.h"

template <uint size, class In, class Out, class Weight>
[[kernel]] void matmat(device const In* x [[buffer(0)]],      // (rows, inputs), rows x_stride apart
                       device const Weight* w [[buffer(1)]],  // (outputs, inputs)
                       SSM_OPTIONAL(has_scale, 2, device const float* scale)      // (outputs)
                       SSM_OPTIONAL(has_bias, 3, device const float* bias)        // (outputs)
                       SSM_OPTIONAL(gated, 6, device const Out* gate)             // (rows, outputs)
                       SSM_OPTIONAL(has_residual, 7, device const Out* residual)  // (rows, outputs)
                       device Out* out [[buffer(8)]],  // (rows, outputs); may be residual
                       constant MatmulParams& p [[buffer(9)]],
                       threadgroup float* memory [[threadgroup(0)]],  // a block of x and one of w
                       uint2 tile [[threadgroup_position_in_grid]],
                       uint thread_index [[thread_index_in_threadgroup]],
                       uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  SSM_ABSENT(has_scale, device const float* scale);
  SSM_ABSENT(has_bias, device const float* bias);
  SSM_ABSENT(gated, device const Out* gate);
  SSM_ABSENT(has_residual, device const Out* residual);
  typedef typename TileElement<In, Weight>::Type T;
  const TilePlace place = tile_place(tile, size, p.rows, p.outputs);
  device const In* xs = x + ulong(place.row) * p.x_stride;
  device const Weight* ws = w + ulong(place.col) * p.inputs;
  threadgroup T* x_tile = (threadgroup T*)memory;
  threadgroup T* w_tile = x_tile + size * tile_stride<T>();
  TileSums<size> sums;
  clear(sums);
  for (uint k = 0; k < p.inputs; k += kTile) {
    load_block<T, size>(x_tile, xs + k, p.x_stride, place.rows, p.inputs - k, thread_index);
    load_block<T, size>(w_tile, ws + k, p.inputs, place.cols, p.inputs - k, thread_index);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    add_block(sums, x_tile, w_tile, simdgroup);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  store_tile(sums, memory, place, scale, bias, gate, residual, out, thread_index, simdgroup);
}

// The size of a tile, then the types of x, out and the weight.
INSTANTIATE(matmat, (32, 64), (float32, float16), (float32, float16), (float32, float16, bfloat16));
