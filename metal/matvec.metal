// out[r, n] = activation(sum over k of norm(x)[r, k] * w[n, k] + bias[n]) * gate[r, n]
//             + residual[r, n]; what is absent is left out (linear.h)
//
// The kernel of matmul for steps; any rows of x, inputs and outputs, float32 accumulation. A
// simdgroup computes vector_outputs outputs of each row of a block of rows (matvec.h). Its lanes
// read neighbouring parts of a weight row, eight values each, keep them in registers for all rows
// of the block, and add up by simd_sum: a block reads a weight exactly once. (Where the outputs do
// not divide evenly, the last simdgroup reads the last row again.) Its outputs share each load of
// x. A norm costs no pass of its own: its weight goes into x, the squares of x are summed beside
// the products, and what a group of columns gives is scaled at the group's end. The order of a
// row's sums does not depend on the rows beside it. Grid: one simdgroup every vector_outputs
// outputs of a block, threadgroups of any number of whole simdgroups.
#include <metal_stdlib>

#include "metal/matmul.h"
#include "metal/matvec.h"

// What is read from device memory for the sums; the kernel has the shapes.
template <class In, class Weight>
struct Operands {
  device const In* x;
  uint first_row;                             // of x, in the block of rows
  device const Weight* rows[kVectorOutputs];  // of the weight, one an output
  device const float* norm_weight;
};

// Adds the products of eight columns from k on, and the squares of x.
template <class In, class Weight>
ALWAYS_INLINE void add_eight(thread OutputSums& sums, thread float (&squared)[kVectorRows],
                             thread const Operands<In, Weight>& from, uint k,
                             constant MatmulParams& p) {
  float4 low[kVectorOutputs], high[kVectorOutputs];
  UNROLL for (uint j = 0; j < vector_outputs; ++j) {
    load8(from.rows[j] + k, aligned_loads, low[j], high[j]);
  }
  float4 norm_low = float4(1.0f), norm_high = float4(1.0f);
  if (normed) load8(from.norm_weight + k, aligned_loads, norm_low, norm_high);
  UNROLL for (uint r = 0; r < vector_rows; ++r) {
    float4 x_low, x_high;
    load8(from.x + ulong(from.first_row + r) * p.x_stride + k, aligned_loads, x_low, x_high);
    if (normed) {
      squared[r] += dot(x_low, x_low) + dot(x_high, x_high);
      x_low *= norm_low;
      x_high *= norm_high;
    }
    UNROLL for (uint j = 0; j < vector_outputs; ++j) {
      sums.of[j][r] += dot(x_low, low[j]) + dot(x_high, high[j]);
    }
  }
}

// The same for column k alone.
template <class In, class Weight>
ALWAYS_INLINE void add_one(thread OutputSums& sums, thread float (&squared)[kVectorRows],
                           thread const Operands<In, Weight>& from, uint k,
                           constant MatmulParams& p) {
  const float norm_here = normed ? from.norm_weight[k] : 1.0f;
  float weight[kVectorOutputs];
  UNROLL for (uint j = 0; j < vector_outputs; ++j) weight[j] = float(from.rows[j][k]);
  UNROLL for (uint r = 0; r < vector_rows; ++r) {
    const float value = float(from.x[ulong(from.first_row + r) * p.x_stride + k]);
    squared[r] += value * value;
    UNROLL for (uint j = 0; j < vector_outputs; ++j) {
      sums.of[j][r] += value * norm_here * weight[j];
    }
  }
}

template <class In, class Out, class Weight>
[[kernel]] void matvec(
    device const In* x [[buffer(0)]],                         // (rows, inputs), rows x_stride apart
    device const Weight* w [[buffer(1)]],                     // (outputs, inputs)
    SSM_OPTIONAL(has_scale, 2, device const float* scale)     // (outputs)
    SSM_OPTIONAL(has_bias, 3, device const float* bias)       // (outputs)
    SSM_OPTIONAL(normed, 4, device const float* norm_weight)  // (inputs)
    SSM_OPTIONAL(by_squares, 5, device const float* squares)  // (rows, norm_parts)
    SSM_OPTIONAL(gated, 6, device const Out* gate)            // (rows, outputs)
    SSM_OPTIONAL(has_residual, 7, device const Out* residual)  // (rows, outputs)
    device Out* out [[buffer(8)]],                             // (rows, outputs); may be residual
    constant MatmulParams& p [[buffer(9)]], uint threadgroup_index [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  SSM_ABSENT(has_scale, device const float* scale);
  SSM_ABSENT(has_bias, device const float* bias);
  SSM_ABSENT(normed, device const float* norm_weight);
  SSM_ABSENT(by_squares, device const float* squares);
  SSM_ABSENT(gated, device const Out* gate);
  SSM_ABSENT(has_residual, device const Out* residual);
  const uint first = (threadgroup_index / row_blocks * simdgroups + simdgroup) * vector_outputs;
  if (first >= p.outputs) return;
  const RowBlock rows = row_block(threadgroup_index, p.rows);
  Operands<In, Weight> from;
  from.x = x;
  from.first_row = rows.first;
  from.norm_weight = norm_weight;
  // Beyond the last output the last one is computed again, and not written.
  UNROLL for (uint j = 0; j < vector_outputs; ++j) {
    from.rows[j] = w + ulong(min(first + j, p.outputs - 1)) * p.inputs;
  }
  const uint group_cols = normed ? p.norm_group_cols : p.inputs;
  OutputSums sum = {};
  for (uint group = 0; group < norm_groups; ++group) {
    const uint begin = group * group_cols, end = begin + group_cols;
    OutputSums part = {};
    float squared[kVectorRows] = {}, scale[kVectorRows];
    for (uint k = begin + 8 * lane; k + 8 <= end; k += 8 * 32) {
      add_eight(part, squared, from, k, p);
    }
    // The last inputs, fewer than eight: one a lane.
    const uint k = begin + (group_cols & ~7u) + lane;
    if (k < end) add_one(part, squared, from, k, p);
    UNROLL for (uint r = 0; r < vector_rows; ++r) {
      scale[r] = normed ? norm_scale(squared[r], squares, rows.first + r, group, p.norm_parts,
                                     group_cols, p.norm_eps, lane)
                        : 1.0f;
    }
    add_scaled(sum, part, scale);
  }
  UNROLL for (uint r = 0; r < vector_rows; ++r) {
    const float mine = own_output(sum, r, lane);
    const uint n = first + lane;  // lane j finishes output first + j
    if (lane < vector_outputs && n < p.outputs && r >= rows.done) {
      const ulong i = ulong(rows.first + r) * p.outputs + n;
      store_linear(mine, n, i, scale, bias, gate, residual_of(residual, i), out);
    }
  }
}

// The types of x, out and the weight.
INSTANTIATE(matvec, (float32, float16), (float32, float16), (float32, float16, bfloat16));
