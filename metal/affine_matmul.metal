// out[r, n] = activation(sum over k of norm(x)[r, k] * (scale * q[n, k] + bias of the group)
//             + bias[n]) * gate[r, n] + residual[r, n]; what is absent is left out (linear.h)
//
// Two kernels, float32 accumulation in both, any rows and outputs, any inputs that groups divide.
//
// affine_matvec, for up to kVectorRows rows of x: a simdgroup computes vector_outputs outputs of
// every row. A lane takes two words of each of them at a time, which never cross a group, and keeps
// them for all rows of x: a weight is read exactly once. (Where the outputs do not divide evenly,
// the last simdgroup reads the last row again.) The sum over a lane's part of a group is
// scale * sum(x * q) + bias * sum(x). Values are masked, not shifted, out of their word: what is
// left is q * 2^(bits * i), so x is multiplied by 2^-(bits * i) before, exactly, and once for all
// outputs. A norm costs no pass of its own: its weight goes into x, the squares of x are summed
// beside the products, and what its groups of columns give is scaled at their ends; a lane's part
// of two words must lie in one of them. Grid: one simdgroup every vector_outputs outputs,
// threadgroups of any number of whole simdgroups.
//
// affine_matmat, for more rows: tiles of 32 x 32 outputs (tile_product.h). Weights become float32
// while a tile is loaded. x comes normed already (norm_rows.metal).
// Grid: x tiles of outputs, y tiles of rows; threadgroups of kTileThreads; threadgroup memory
// 2 * kTileBytes.
#include <metal_stdlib>

#include "affine.h"
#include "affine_matmul.h"
#include "linear.h"
#include "matmul_shape.h"
#include "tile_product.h"

// Where a GPU converts integers slowly. A value masked out of the lower half of a word, put into
// the bits of 2^23, is 2^23 + value: exact, for a bit operation and a subtraction.
constant bool by_exponent [[function_constant(10)]];

// By what x[i] is multiplied, because value i of a word, or of half a word, stays at its bits.
template <uint bits>
inline float unit_of(uint i) {
  const uint values = by_exponent ? 16 / bits : 32 / bits;
  return 1.0f / float(1u << (bits * (i % values)));
}

// sum over i of v[i] * q[i] for the values q of a word, where v[i] holds x[i] * unit_of(i).
template <uint bits>
inline float masked_dot(uint word, thread const float* v) {
  constexpr uint kMask = (1u << bits) - 1, kHalfValues = 16 / bits;
  float sum = 0.0f;
  for (uint i = 0; i < 32 / bits; ++i) {
    if (by_exponent) {
      const uint half_word = i < kHalfValues ? word : word >> 16;
      const uint value = half_word & (kMask << (bits * (i % kHalfValues)));
      sum += v[i] * (as_type<float>(0x4b000000u | value) - 8388608.0f);
    } else {
      sum += v[i] * float(word & (kMask << (bits * i)));
    }
  }
  return sum;
}

template <class In, class Out, class Scale, uint bits>
[[kernel]] void affine_matvec(
    device const In* x [[buffer(0)]],          // (rows, inputs), rows x_stride apart
    device const uint* words [[buffer(1)]],    // (outputs, inputs * bits / 32)
    device const Scale* scales [[buffer(2)]],  // (outputs, inputs / group_size)
    device const Scale* biases [[buffer(3)]],  // (outputs, inputs / group_size)
    device const float* bias [[buffer(4), function_constant(has_bias)]],       // (outputs)
    device const float* norm_weight [[buffer(5), function_constant(normed)]],  // (inputs)
    device const float* squares [[buffer(6), function_constant(by_squares)]],  // (rows, norm_parts)
    device const Out* gate [[buffer(7), function_constant(gated)]],            // (rows, outputs)
    device const Out* residual [[buffer(8), function_constant(has_residual)]],  // (rows, outputs)
    device Out* out [[buffer(9)]],  // (rows, outputs); may be residual
    constant AffineMatmulParams& p [[buffer(10)]],
    uint threadgroup_index [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  constexpr uint kWordValues = 32 / bits;
  constexpr uint kLaneValues = 2 * kWordValues;
  const uint group_shift = ctz(p.group_size);  // a division would cost more
  const uint first = (threadgroup_index * simdgroups + simdgroup) * vector_outputs;
  if (first >= p.outputs) return;
  // Beyond the last output the last one is computed again, and not written.
  device const uint* ws[kVectorOutputs];
  ulong groups[kVectorOutputs];
  UNROLL for (uint j = 0; j < vector_outputs; ++j) {
    const ulong n = min(first + j, p.outputs - 1);
    ws[j] = words + n * (p.inputs / kWordValues);
    groups[j] = n * (p.inputs >> group_shift);
  }
  const uint group_cols = normed ? p.norm_group_cols : p.inputs;  // of the norm
  float sum[kVectorOutputs][kVectorRows] = {};
  for (uint group = 0; group < norm_groups; ++group) {
    const uint begin = group * group_cols, end = begin + group_cols;
    float part[kVectorOutputs][kVectorRows] = {};
    float squared[kVectorRows] = {};
    for (uint k = begin + kLaneValues * lane; k < end; k += kLaneValues * 32) {
      uint2 word[kVectorOutputs];
      float scale[kVectorOutputs], offset[kVectorOutputs];
      UNROLL for (uint j = 0; j < vector_outputs; ++j) {
        device const uint* from = ws[j] + k / kWordValues;
        word[j] =
            aligned_loads ? *(device const uint2*)from : uint2(*(device const packed_uint2*)from);
        scale[j] = float(scales[groups[j] + (k >> group_shift)]);
        offset[j] = float(biases[groups[j] + (k >> group_shift)]);
      }
      UNROLL for (uint r = 0; r < vector_rows; ++r) {
        device const In* xs = x + ulong(r) * p.x_stride + k;
        float v[kLaneValues];
        float total = 0.0f;
        for (uint i = 0; i < kLaneValues; i += 8) {
          float4 four[2];
          load8(xs + i, aligned_loads, four[0], four[1]);
          if (normed) {
            float4 norm[2];
            load8(norm_weight + k + i, aligned_loads, norm[0], norm[1]);
            squared[r] += dot(four[0], four[0]) + dot(four[1], four[1]);
            four[0] *= norm[0];
            four[1] *= norm[1];
          }
          for (uint m = 0; m < 2; ++m) {
            total += four[m].x + four[m].y + four[m].z + four[m].w;
            thread float* to = v + i + 4 * m;
            const uint at = i + 4 * m;
            to[0] = four[m].x * unit_of<bits>(at);
            to[1] = four[m].y * unit_of<bits>(at + 1);
            to[2] = four[m].z * unit_of<bits>(at + 2);
            to[3] = four[m].w * unit_of<bits>(at + 3);
          }
        }
        UNROLL for (uint j = 0; j < vector_outputs; ++j) {
          const float product =
              masked_dot<bits>(word[j].x, v) + masked_dot<bits>(word[j].y, v + kWordValues);
          part[j][r] += scale[j] * product + offset[j] * total;
        }
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
      store_linear(mine, n, ulong(r) * p.outputs + n, bias, gate, residual, out);
    }
  }
}

template <class In, class Out, class Scale, uint bits>
[[kernel]] void affine_matmat(
    device const In* x [[buffer(0)]],          // (rows, inputs), rows x_stride apart
    device const uint* words [[buffer(1)]],    // (outputs, inputs * bits / 32)
    device const Scale* scales [[buffer(2)]],  // (outputs, inputs / group_size)
    device const Scale* biases [[buffer(3)]],  // (outputs, inputs / group_size)
    device const float* bias [[buffer(4), function_constant(has_bias)]],        // (outputs)
    device const Out* gate [[buffer(7), function_constant(gated)]],             // (rows, outputs)
    device const Out* residual [[buffer(8), function_constant(has_residual)]],  // (rows, outputs)
    device Out* out [[buffer(9)]],  // (rows, outputs); may be residual
    constant AffineMatmulParams& p [[buffer(10)]],
    threadgroup float* tiles [[threadgroup(0)]],  // of x, then of w: (kTile, kTileStride) each
    uint2 tile [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
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
    store_linear(tiles[r * kTileStride + c], col + c, ulong(row + r) * p.outputs + col + c, bias,
                 gate, residual, out);
  }
}

// Named by the bits, then by the types of x, out and the scales.
#define INSTANTIATE_KERNELS(types, ...)                                 \
  INSTANTIATE("affine_matvec_4_" types, affine_matvec<__VA_ARGS__, 4>); \
  INSTANTIATE("affine_matvec_8_" types, affine_matvec<__VA_ARGS__, 8>); \
  INSTANTIATE("affine_matmat_4_" types, affine_matmat<__VA_ARGS__, 4>); \
  INSTANTIATE("affine_matmat_8_" types, affine_matmat<__VA_ARGS__, 8>)
#define INSTANTIATE_FOR(in_out, ...)                          \
  INSTANTIATE_KERNELS(in_out "_float32", __VA_ARGS__, float); \
  INSTANTIATE_KERNELS(in_out "_float16", __VA_ARGS__, half);  \
  INSTANTIATE_KERNELS(in_out "_bfloat16", __VA_ARGS__, bfloat)
INSTANTIATE_FOR("float32_float32", float, float);
INSTANTIATE_FOR("float32_float16", float, half);
INSTANTIATE_FOR("float16_float32", half, float);
INSTANTIATE_FOR("float16_float16", half, half);
