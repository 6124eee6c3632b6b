// out[r, n] = activation(sum over k of norm(x)[r, k] * w[n, k] + bias[n]) * gate[r, n]
//             + residual[r, n]; what is absent is left out (linear.h)
//
// Two kernels, float32 accumulation in both, any rows, inputs and outputs.
//
// matvec, for up to kVectorRows rows of x: a simdgroup computes vector_outputs outputs of each row.
// Its lanes read neighbouring parts of a weight row, eight values each, keep them in registers for
// all rows of x, and add up by simd_sum: a weight is read exactly once. (Where the outputs do not
// divide evenly, the last simdgroup reads the last row again.) Its outputs share each load of x.
// A norm costs no pass of its own: its weight goes into x, the squares of x are summed beside the
// products, and what a group of columns gives is scaled at the group's end.
// Grid: one simdgroup every vector_outputs outputs, threadgroups of any number of whole simdgroups.
//
// matmat, for more rows: tiles of 32 x 32 or 64 x 64 outputs (linear_tile.h), the larger where they
// are enough to fill the GPU. Weights become the type of a tile while it is loaded. x comes normed
// already (norm_rows.metal), in float16 where activations are.
// Grid: x tiles of outputs, y tiles of rows; threadgroups of kTileThreads; threadgroup memory
// linear_tile_bytes().
#include <metal_stdlib>

#include "linear.h"
#include "linear_tile.h"
#include "matmul.h"
#include "matmul_shape.h"

template <class In, class Out, class Weight>
[[kernel]] void matvec(
    device const In* x [[buffer(0)]],      // (rows, inputs), rows x_stride apart
    device const Weight* w [[buffer(1)]],  // (outputs, inputs)
    device const float* bias [[buffer(2), function_constant(has_bias)]],       // (outputs)
    device const float* norm_weight [[buffer(3), function_constant(normed)]],  // (inputs)
    device const float* squares [[buffer(4), function_constant(by_squares)]],  // (rows, norm_parts)
    device const Out* gate [[buffer(5), function_constant(gated)]],            // (rows, outputs)
    device const Out* residual [[buffer(6), function_constant(has_residual)]],  // (rows, outputs)
    device Out* out [[buffer(7)]],  // (rows, outputs); may be residual
    constant MatmulParams& p [[buffer(8)]], uint threadgroup_index [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  const uint first = (threadgroup_index * simdgroups + simdgroup) * vector_outputs;
  if (first >= p.outputs) return;
  // Beyond the last output the last one is computed again, and not written.
  device const Weight* ws[kVectorOutputs];
  UNROLL for (uint j = 0; j < vector_outputs; ++j) {
    ws[j] = w + ulong(min(first + j, p.outputs - 1)) * p.inputs;
  }
  const uint group_cols = normed ? p.norm_group_cols : p.inputs;
  float sum[kVectorOutputs][kVectorRows] = {};
  for (uint group = 0; group < norm_groups; ++group) {
    const uint begin = group * group_cols, end = begin + group_cols;
    float part[kVectorOutputs][kVectorRows] = {};
    float squared[kVectorRows] = {};
    for (uint k = begin + 8 * lane; k + 8 <= end; k += 8 * 32) {
      float4 low[kVectorOutputs], high[kVectorOutputs];
      UNROLL for (uint j = 0; j < vector_outputs; ++j) {
        load8(ws[j] + k, aligned_loads, low[j], high[j]);
      }
      float4 norm_low = float4(1.0f), norm_high = float4(1.0f);
      if (normed) load8(norm_weight + k, aligned_loads, norm_low, norm_high);
      UNROLL for (uint r = 0; r < vector_rows; ++r) {
        device const In* xs = x + ulong(r) * p.x_stride + k;
        float4 x_low, x_high;
        load8(xs, aligned_loads, x_low, x_high);
        if (normed) {
          squared[r] += dot(x_low, x_low) + dot(x_high, x_high);
          x_low *= norm_low;
          x_high *= norm_high;
        }
        UNROLL for (uint j = 0; j < vector_outputs; ++j) {
          part[j][r] += dot(x_low, low[j]) + dot(x_high, high[j]);
        }
      }
    }
    // The last inputs, fewer than eight: one a lane.
    const uint k = begin + (group_cols & ~7u) + lane;
    if (k < end) {
      const float norm_here = normed ? norm_weight[k] : 1.0f;
      float weight[kVectorOutputs];
      UNROLL for (uint j = 0; j < vector_outputs; ++j) weight[j] = float(ws[j][k]);
      UNROLL for (uint r = 0; r < vector_rows; ++r) {
        const float value = float(x[ulong(r) * p.x_stride + k]);
        squared[r] += value * value;
        UNROLL for (uint j = 0; j < vector_outputs; ++j) part[j][r] +=
            value * norm_here * weight[j];
      }
    }
    UNROLL for (uint r = 0; r < vector_rows; ++r) {
      float scale = 1.0f;
      if (normed) {
        scale =
            norm_scale(squared[r], squares, r, group, p.norm_parts, group_cols, p.norm_eps, lane);
      }
      UNROLL for (uint j = 0; j < vector_outputs; ++j) sum[j][r] += scale * part[j][r];
    }
  }
  UNROLL for (uint r = 0; r < vector_rows; ++r) {
    float mine = 0.0f;  // lane j finishes output first + j
    UNROLL for (uint j = 0; j < vector_outputs; ++j) {
      const float total = simd_sum(sum[j][r]);
      if (lane == j) mine = total;
    }
    const uint n = first + lane;
    if (lane < vector_outputs && n < p.outputs) {
      const ulong i = ulong(r) * p.outputs + n;
      store_linear(mine, n, i, bias, gate, residual_of(residual, i), out);
    }
  }
}

template <class In, class Out, class Weight, uint size>
[[kernel]] void matmat(
    device const In* x [[buffer(0)]],      // (rows, inputs), rows x_stride apart
    device const Weight* w [[buffer(1)]],  // (outputs, inputs)
    device const float* bias [[buffer(2), function_constant(has_bias)]],        // (outputs)
    device const Out* gate [[buffer(5), function_constant(gated)]],             // (rows, outputs)
    device const Out* residual [[buffer(6), function_constant(has_residual)]],  // (rows, outputs)
    device Out* out [[buffer(7)]],  // (rows, outputs); may be residual
    constant MatmulParams& p [[buffer(8)]],
    threadgroup float* memory [[threadgroup(0)]],  // a block of x and one of w
    uint2 tile [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
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
  store_tile(sums, memory, place, bias, gate, residual, out, thread_index, simdgroup);
}

// Named by the types of x, out and the weight.
#define INSTANTIATE_KERNELS(types, ...)                        \
  INSTANTIATE("matvec_" types, matvec<__VA_ARGS__>);           \
  INSTANTIATE("matmat_32_" types, matmat<__VA_ARGS__, kTile>); \
  INSTANTIATE("matmat_64_" types, matmat<__VA_ARGS__, kLargeTile>)
#define INSTANTIATE_FOR(in, In, out, Out)                     \
  INSTANTIATE_KERNELS(in "_" out "_float32", In, Out, float); \
  INSTANTIATE_KERNELS(in "_" out "_float16", In, Out, half);  \
  INSTANTIATE_KERNELS(in "_" out "_bfloat16", In, Out, bfloat)
INSTANTIATE_FOR("float32", float, "float32", float);
INSTANTIATE_FOR("float32", float, "float16", half);
INSTANTIATE_FOR("float16", half, "float32", float);
INSTANTIATE_FOR("float16", half, "float16", half);
