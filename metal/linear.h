// What matmul and affine_matmul do around the product itself, with float32 in between:
//   out[r, n] = activation(product of normed x and w [r, n] + bias[n]) * gate[r, n] + residual[r,
//   n]
// Each part is there only when its function constant says so.
#pragma once
#include "common.h"

constant bool has_bias [[function_constant(0)]];
constant uint activation [[function_constant(1)]];  // enum Activation
constant bool gated [[function_constant(2)]];
constant bool has_residual [[function_constant(3)]];
// What follows is for the mat-vec kernels: the mat-mat kernels are given x normed
// (norm_rows.metal).
constant bool normed [[function_constant(4)]];
constant bool by_squares [[function_constant(5)]];   // by given sums of squares, not those of x
constant uint norm_groups [[function_constant(6)]];  // that are normed by themselves; else 1
constant uint vector_rows [[function_constant(7)]];  // rows of x: loops unroll
// Every eight elements of x, the weight and the norm's weight start at a multiple of 16 bytes.
constant bool aligned_loads [[function_constant(8)]];
constant uint vector_outputs [[function_constant(9)]];  // of a simdgroup, up to kVectorOutputs

// Element i of the residual, 0 without one. It may be out: one thread reads and writes an element.
template <class Out>
inline float residual_of(device const Out* residual, ulong i) {
  return has_residual ? float(residual[i]) : 0.0f;
}

// Stores the product of output n as element i of out. `residual`: residual_of(i), which may have
// been read long before.
template <class Out>
inline void store_linear(float sum, uint n, ulong i, device const float* bias,
                         device const Out* gate, float residual, device Out* out) {
  if (has_bias) sum += bias[n];
  if (activation == kGelu) sum = gelu(sum);
  if (activation == kSilu) sum = silu(sum);
  if (gated) sum *= float(gate[i]);
  if (has_residual) sum += residual;
  out[i] = Out(sum);
}

// What x is multiplied by, in a group of `cols` columns of row r: 1 / its root mean square. The
// whole simdgroup calls it. `own`: this lane's share of the sum of squares of x; `squares` (rows,
// parts): sums of squares to take instead.
inline float norm_scale(float own, device const float* squares, uint r, uint group, uint parts,
                        uint cols, float eps, uint lane) {
  float sum = own;
  if (by_squares) {
    const uint count = parts / norm_groups;  // of a group
    device const float* of_group = squares + ulong(r) * parts + group * count;
    sum = 0.0f;
    for (uint i = lane; i < count; i += 32) sum += of_group[i];
  }
  return precise::rsqrt(simd_sum(sum) / float(cols) + eps);
}
