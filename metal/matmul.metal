// out[r, n] = sum over k of x[r, k] * w[n, k] (+ bias[n])
//
// Two kernels, float32 accumulation in both, any rows, inputs and outputs.
//
// matvec, for up to kVectorRows rows of x: a simdgroup computes kVectorOutputs outputs of each row.
// Its lanes read neighbouring parts of a weight row, eight values each, keep them in registers for
// all rows of x, and add up by simd_sum: a weight is read exactly once. (Where the outputs do not
// divide evenly, the last simdgroup reads the last row again.) Four outputs share each load of x.
// Grid: one simdgroup every kVectorOutputs outputs, kVectorSimdgroups a threadgroup.
//
// matmat, for more rows: tiles of 32 x 32 outputs (tile_product.h). Weights become float32 while a
// tile is loaded.
// Grid: x tiles of outputs, y tiles of rows; threadgroups of kTileThreads; threadgroup memory
// 2 * kTileBytes.
#include <metal_stdlib>

#include "common.h"
#include "matmul.h"
#include "matmul_shape.h"
#include "tile_product.h"

constant bool has_bias [[function_constant(0)]];
constant uint vector_rows [[function_constant(1)]];  // matvec: rows of x, so that loops unroll

template <class T, class Weight>
[[kernel]] void matvec(device const T* x [[buffer(0)]],       // (rows, inputs), rows x_stride apart
                       device const Weight* w [[buffer(1)]],  // (outputs, inputs)
                       device const float* bias
                       [[buffer(2), function_constant(has_bias)]],  // (outputs)
                       device T* out [[buffer(3)]],                 // (rows, outputs)
                       constant MatmulParams& p [[buffer(4)]],
                       uint threadgroup_index [[threadgroup_position_in_grid]],
                       uint lane [[thread_index_in_simdgroup]],
                       uint simdgroup [[simdgroup_index_in_threadgroup]],
                       uint simdgroups [[simdgroups_per_threadgroup]]) {
  const uint first = (threadgroup_index * simdgroups + simdgroup) * kVectorOutputs;
  if (first >= p.outputs) return;
  // Beyond the last output the last one is computed again, and not written.
  device const Weight* ws[kVectorOutputs];
  for (uint j = 0; j < kVectorOutputs; ++j) {
    ws[j] = w + ulong(min(first + j, p.outputs - 1)) * p.inputs;
  }
  float sum[kVectorOutputs][kVectorRows] = {};
  for (uint k = 8 * lane; k + 8 <= p.inputs; k += 8 * 32) {
    float4 low[kVectorOutputs], high[kVectorOutputs];
    for (uint j = 0; j < kVectorOutputs; ++j) {
      low[j] = load4(ws[j] + k);
      high[j] = load4(ws[j] + k + 4);
    }
    for (uint r = 0; r < vector_rows; ++r) {
      device const T* xs = x + ulong(r) * p.x_stride + k;
      const float4 x_low = load4(xs), x_high = load4(xs + 4);
      for (uint j = 0; j < kVectorOutputs; ++j) {
        sum[j][r] += dot(x_low, low[j]) + dot(x_high, high[j]);
      }
    }
  }
  // The last inputs, fewer than eight: one a lane.
  const uint k = (p.inputs & ~7u) + lane;
  if (k < p.inputs) {
    for (uint j = 0; j < kVectorOutputs; ++j) {
      const float weight = float(ws[j][k]);
      for (uint r = 0; r < vector_rows; ++r) {
        sum[j][r] += float(x[ulong(r) * p.x_stride + k]) * weight;
      }
    }
  }
  for (uint j = 0; j < kVectorOutputs; ++j) {
    const uint n = first + j;
    for (uint r = 0; r < vector_rows; ++r) {
      float total = simd_sum(sum[j][r]);
      if (lane != 0 || n >= p.outputs) continue;
      if (has_bias) total += bias[n];
      out[ulong(r) * p.outputs + n] = T(total);
    }
  }
}

template <class T, class Weight>
[[kernel]] void matmat(device const T* x [[buffer(0)]],       // (rows, inputs), rows x_stride apart
                       device const Weight* w [[buffer(1)]],  // (outputs, inputs)
                       device const float* bias
                       [[buffer(2), function_constant(has_bias)]],  // (outputs)
                       device T* out [[buffer(3)]],                 // (rows, outputs)
                       constant MatmulParams& p [[buffer(4)]],
                       threadgroup float* tiles
                       [[threadgroup(0)]],  // of x, then of w: (kTile, kTileStride) each
                       uint2 tile [[threadgroup_position_in_grid]],
                       uint thread_index [[thread_index_in_threadgroup]],
                       uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  const uint row = tile.y * kTile, col = tile.x * kTile;
  const uint rows = p.rows - row, cols = p.outputs - col;  // left, of this tile on
  device const T* xs = x + ulong(row) * p.x_stride;
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
    float total = tiles[r * kTileStride + n];
    if (has_bias) total += bias[col + n];
    out[ulong(row + r) * p.outputs + col + n] = T(total);
  }
}

// Named by the type of the weight.
INSTANTIATE("matvec_float32", matvec<float, float>);
INSTANTIATE("matvec_float16", matvec<float, half>);
INSTANTIATE("matvec_bfloat16", matvec<float, bfloat>);
INSTANTIATE("matmat_float32", matmat<float, float>);
INSTANTIATE("matmat_float16", matmat<float, half>);
INSTANTIATE("matmat_bfloat16", matmat<float, bfloat>);
