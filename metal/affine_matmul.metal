// out[r, n] = activation(sum over k of norm(x)[r, k] * (scale * q[n, k] + bias of the group)
//             + bias[n]) * gate[r, n] + residual[r, n]; what is absent is left out (linear.h)
//
// Two kernels, float32 accumulation in both, any rows and outputs, any inputs that groups divide.
//
// affine_matvec, for up to kVectorRows rows of x: a simdgroup computes vector_outputs outputs of
// every row. A lane takes lane_words neighbouring words of each of them at a time, which never
// cross a group, and keeps them for all rows of x: a weight is read exactly once. (Beyond the last
// output the last one is computed again.) `reads` such reads are under way together, whatever
// vector_outputs is. The sum over a lane's part of a group is scale * sum(x * q) + bias * sum(x).
// Values are masked, not shifted, out of their word: what is left is q * 2^(bits * i), so x is
// multiplied by 2^-(bits * i) before, exactly.
// All of that is done to x once a threadgroup, a chunk of staged_columns at a time, in threadgroup
// memory, while the first weights are on their way; the sums of x over each lane's part go there
// too. A norm costs no pass of its own: its weight goes into x, the squares of x are summed
// beside, and what a group of columns gives is scaled at the group's end; a lane's part of the
// words must lie in one of them. Grid: one simdgroup every vector_outputs outputs, any number of
// whole simdgroups a threadgroup. Threadgroup memory: rows * staged_columns floats; as many /
// lane_values; rows * simdgroups.
//
// affine_matmat, for more rows: tiles of 32 x 32 outputs (linear_tile.h). Weights become numbers of
// the type of x while a tile is loaded. x comes normed already (norm_rows.metal), in float16 where
// activations are.
// Grid: x tiles of outputs, y tiles of rows; threadgroups of kTileThreads; threadgroup memory
// linear_tile_bytes().
#include <metal_stdlib>

#include "affine.h"
#include "affine_matmul.h"
#include "linear.h"
#include "linear_tile.h"
#include "matmul_shape.h"

// Where a GPU converts integers slowly. A value masked out of the lower half of a word, put into
// the bits of 2^23, is 2^23 + value: exact, for a bit operation and a subtraction.
constant bool by_exponent [[function_constant(10)]];

// The bits of 2^23, as a number that no compiler sees through (`bits` is at most 8): with two
// constants at hand it would mask and place a value in two instructions.
inline uint exponent_of(uint bits) { return 0x4b000000u + (bits >> 8); }

// By what x[i] is multiplied, because value i of a word, or of half a word, stays at its bits.
template <uint bits>
inline float unit_of(uint i) {
  const uint values = by_exponent ? 16 / bits : 32 / bits;
  return 1.0f / float(1u << (bits * (i % values)));
}

// sum over i of v[i] * q[i] for the values q of a word, where v, four a vector, holds
// x[i] * unit_of(i). `exponent`: exponent_of.
template <uint bits>
inline float masked_dot(uint word, thread const float4* v, uint exponent) {
  constexpr uint kMask = (1u << bits) - 1, kHalfValues = 16 / bits;
  float sum = 0.0f;
  UNROLL for (uint i = 0; i < 32 / bits; ++i) {
    if (by_exponent) {
      const uint half_word = i < kHalfValues ? word : word >> 16;
      const uint value = half_word & (kMask << (bits * (i % kHalfValues)));
      sum += v[i / 4][i % 4] * (as_type<float>(exponent | value) - 8388608.0f);
    } else {
      sum += v[i / 4][i % 4] * float(word & (kMask << (bits * i)));
    }
  }
  return sum;
}

// Words that a lane of affine_matvec takes at once: 4, or 2 where rows of x are many.
constant uint lane_words [[function_constant(11)]];
// Of each row of x in threadgroup memory: a multiple of what 32 lanes take at once.
constant uint staged_columns [[function_constant(12)]];
constant uint reads [[function_constant(13)]];  // that a lane has under way, up to kVectorReads

// Some words of a row, side by side.
inline uint4 load_words(device const uint* from) {
  if (lane_words == 2) {
    const uint2 two =
        aligned_loads ? *(device const uint2*)from : uint2(*(device const packed_uint2*)from);
    return uint4(two.x, two.y, 0, 0);
  }
  return aligned_loads ? *(device const uint4*)from : uint4(*(device const packed_uint4*)from);
}

// The place in `staged` of columns 4 * quarter and on of lane `lane`'s part of a block, which is
// what 32 lanes take at once. Neighbouring lanes read neighbours; the bits of `quarter` spread what
// neighbouring threads write over the banks of the memory.
template <uint bits>
inline uint staged_at(uint block, uint lane, uint quarter) {
  const uint quarters = lane_words * 8 / bits;
  return (block * quarters + quarter) * 32 + (lane ^ quarter);
}

// Puts `cols` columns of a row of x, times those of the norm's weight, where the lanes will read
// them, and the sum of each lane's part into `sums`. Returns this thread's share of the sum of the
// squares of x. Whole simdgroups call it: a lane's part is that of neighbouring threads.
template <uint bits, class In>
inline float stage(threadgroup float4* staged, threadgroup float* sums, device const In* x,
                   device const float* norm_weight, uint cols, uint thread_index, uint threads) {
  const uint eights = lane_words * 4 / bits;  // of a lane's part
  float squared = 0.0f;
  for (uint i = thread_index; i < (cols / 8 + 31 & ~31u); i += threads) {
    const bool inside = 8 * i < cols;
    float4 low = float4(0.0f), high = float4(0.0f);
    if (inside) {
      load8(x + 8 * i, aligned_loads, low, high);
      if (normed) {
        float4 norm_low, norm_high;
        load8(norm_weight + 8 * i, aligned_loads, norm_low, norm_high);
        squared += dot(low, low) + dot(high, high);
        low *= norm_low;
        high *= norm_high;
      }
    }
    const float4 both = low + high;
    float sum = (both.x + both.y) + (both.z + both.w);
    for (uint step = 1; step < eights; step *= 2) sum += simd_shuffle_xor(sum, ushort(step));
    if (!inside) continue;
    const uint part = i / eights, quarter = 2 * (i % eights);
    if (quarter == 0) sums[part] = sum;
    staged[staged_at<bits>(part / 32, part % 32, quarter)] =
        low * float4(unit_of<bits>(0), unit_of<bits>(1), unit_of<bits>(2), unit_of<bits>(3));
    staged[staged_at<bits>(part / 32, part % 32, quarter + 1)] =
        high * float4(unit_of<bits>(4), unit_of<bits>(5), unit_of<bits>(6), unit_of<bits>(7));
  }
  return squared;
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
    threadgroup float4* staged [[threadgroup(0)]],  // (rows, staged_columns / 4): staged_at
    threadgroup float* sums [[threadgroup(1)]],     // (rows, staged_columns / lane_values)
    threadgroup float* scratch [[threadgroup(2)]],  // (rows, simdgroups)
    uint threadgroup_index [[threadgroup_position_in_grid]],
    uint threadgroups [[threadgroups_per_grid]], uint thread_index [[thread_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  constexpr uint kWordValues = 32 / bits;
  const uint lane_values = lane_words * kWordValues, block = 32 * lane_values;
  // Blocks whose reads are under way at once.
  const uint together = clamp(reads / vector_outputs, 1u, staged_columns / block);
  const uint group_shift = ctz(p.group_size);  // a division would cost more
  const uint exponent = exponent_of(p.bits);
  const uint group_cols = normed ? p.norm_group_cols : p.inputs;  // of the norm
  // All of x stays in threadgroup memory; else it comes again for each round.
  const bool stays = norm_groups == 1 && group_cols <= staged_columns;
  bool staged_before = false;
  float norm[kVectorRows];  // what x is to be multiplied by

  // A round: vector_outputs outputs of each simdgroup, from `first` on.
  const uint of_threadgroup = simdgroups * vector_outputs;
  for (uint before = threadgroup_index * of_threadgroup; before < p.outputs;
       before += threadgroups * of_threadgroup) {
    const uint first = before + simdgroup * vector_outputs;
    // Beyond the last output the last one is computed again, and not written.
    device const uint* ws[kVectorOutputs];
    ulong groups[kVectorOutputs];
    UNROLL for (uint j = 0; j < vector_outputs; ++j) {
      const ulong n = min(first + j, p.outputs - 1);
      ws[j] = words + n * (p.inputs / kWordValues);
      groups[j] = n * (p.inputs >> group_shift);
    }
    // Lane j finishes output first + j.
    const uint own = first + lane;
    const bool finishes = lane < vector_outputs && own < p.outputs;
    float added[kVectorRows];
    UNROLL for (uint r = 0; r < vector_rows; ++r) {
      added[r] = finishes ? residual_of(residual, ulong(r) * p.outputs + own) : 0.0f;
    }

    float sum[kVectorOutputs][kVectorRows] = {};
    for (uint group = 0; group < norm_groups; ++group) {
      float part[kVectorOutputs][kVectorRows] = {};
      float squared[kVectorRows] = {};
      for (uint begin = 0; begin < group_cols; begin += staged_columns) {
        const uint cols = min(group_cols - begin, staged_columns);
        const uint own_cols = first < p.outputs ? cols : 0;  // nothing, without an output
        const uint column = group * group_cols + begin;      // of x, before this chunk
        for (uint at = 0; at < cols; at += together * block) {
          uint4 word[kVectorReads];
          float scale[kVectorReads], offset[kVectorReads];
          UNROLL for (uint u = 0; u < together; ++u) {
            const uint here = at + u * block + lane * lane_values;
            const uint k = column + here;
            UNROLL for (uint j = 0; j < vector_outputs; ++j) {
              const uint i = u * vector_outputs + j;
              if (here >= own_cols) continue;
              word[i] = load_words(ws[j] + k / kWordValues);
              scale[i] = float(scales[groups[j] + (k >> group_shift)]);
              offset[i] = float(biases[groups[j] + (k >> group_shift)]);
            }
          }
          if (at == 0 && !(stays && staged_before)) {
            if (staged_before) threadgroup_barrier(mem_flags::mem_threadgroup);  // all have read it
            staged_before = true;
            UNROLL for (uint r = 0; r < vector_rows; ++r) {
              squared[r] += stage<bits>(staged + r * (staged_columns / 4),
                                        sums + r * (staged_columns / lane_values),
                                        x + ulong(r) * p.x_stride + column, norm_weight + column,
                                        cols, thread_index, 32 * simdgroups);
              if (normed && !by_squares) {
                const float of_simdgroup = simd_sum(squared[r]);
                if (lane == 0) scratch[r * simdgroups + simdgroup] = of_simdgroup;
              }
            }
            threadgroup_barrier(mem_flags::mem_threadgroup);
            UNROLL for (uint r = 0; r < vector_rows; ++r) {  // right after a group's last chunk
              norm[r] = 1.0f;
              if (!normed) continue;
              const bool summed = !by_squares && lane < simdgroups;
              norm[r] = norm_scale(summed ? scratch[r * simdgroups + lane] : 0.0f, squares, r,
                                   group, p.norm_parts, group_cols, p.norm_eps, lane);
            }
          }
          UNROLL for (uint u = 0; u < together; ++u) {
            if (at + u * block + lane * lane_values >= own_cols) continue;
            const uint b = at / block + u;
            UNROLL for (uint r = 0; r < vector_rows; ++r) {
              threadgroup const float4* xs = staged + r * (staged_columns / 4);
              float product[kVectorOutputs] = {};
              UNROLL for (uint w = 0; w < lane_words; ++w) {
                float4 v[kWordValues / 4];
                UNROLL for (uint q = 0; q < kWordValues / 4; ++q) {
                  v[q] = xs[staged_at<bits>(b, lane, w * (kWordValues / 4) + q)];
                }
                UNROLL for (uint j = 0; j < vector_outputs; ++j) {
                  product[j] += masked_dot<bits>(word[u * vector_outputs + j][w], v, exponent);
                }
              }
              const float total = sums[r * (staged_columns / lane_values) + b * 32 + lane];
              UNROLL for (uint j = 0; j < vector_outputs; ++j) {
                const uint i = u * vector_outputs + j;
                part[j][r] += scale[i] * product[j] + offset[i] * total;
              }
            }
          }
        }
      }
      UNROLL for (uint r = 0; r < vector_rows; ++r) {
        UNROLL for (uint j = 0; j < vector_outputs; ++j) sum[j][r] += norm[r] * part[j][r];
      }
    }
    UNROLL for (uint r = 0; r < vector_rows; ++r) {
      float mine = 0.0f;
      UNROLL for (uint j = 0; j < vector_outputs; ++j) {
        const float total = simd_sum(sum[j][r]);
        if (lane == j) mine = total;
      }
      if (finishes) {
        store_linear(mine, own, ulong(r) * p.outputs + own, bias, gate, added[r], out);
      }
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
    threadgroup float* memory [[threadgroup(0)]],  // a block of x and one of w
    uint2 tile [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  constexpr uint kWordValues = 32 / bits, kSize = kTile;
  const uint group_shift = ctz(p.group_size);  // a division would cost more
  const TilePlace place = tile_place(tile, kSize, p.rows, p.outputs);
  device const In* xs = x + ulong(place.row) * p.x_stride;
  threadgroup In* x_tile = (threadgroup In*)memory;
  threadgroup In* w_tile = x_tile + kSize * tile_stride<In>();

  // The part of the weight that this thread loads: beyond the last output the last one again. A
  // block is 32 inputs wide, so it lies in one group.
  const uint w_row = row_of_thread(thread_index), w_col = column_of_thread(thread_index);
  const ulong n = min(place.col + w_row, p.outputs - 1);
  device const uint* w = words + n * (p.inputs / kWordValues) + w_col / kWordValues;
  const ulong groups = n * (p.inputs >> group_shift);
  threadgroup In* to = w_tile + w_row * tile_stride<In>() + w_col;

  TileSums<kSize> sums;
  clear(sums);
  for (uint k = 0; k < p.inputs; k += kTile) {
    load_block<In, kSize>(x_tile, xs + k, p.x_stride, place.rows, uint(kTile), thread_index);
    const float scale = float(scales[groups + (k >> group_shift)]);
    const float offset = float(biases[groups + (k >> group_shift)]);
    UNROLL for (uint i = 0; i < 2; ++i) {
      const uint word = w[k / kWordValues + 4 * i / kWordValues];
      store4_in_tile(to + 4 * i, scale * quarter_of(word, bits, i) + offset);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    add_block(sums, x_tile, w_tile, simdgroup);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  store_tile(sums, memory, place, bias, gate, residual, out, thread_index, simdgroup);
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
