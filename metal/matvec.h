// What the mat-vec kernels of matmul and quantized_matmul share. They take in the norm of x; the
// mat-mat kernels are given x normed (norm_rows.metal).
#pragma once
#include "metal/linear.h"
#include "metal/matmul_shape.h"

SSM_CONSTANT(bool, normed);
SSM_CONSTANT(bool, by_squares);   // by given sums of squares, not those of x
SSM_CONSTANT(uint, norm_groups);  // that are normed by themselves; else 1
SSM_CONSTANT(uint, vector_rows);  // of a block of rows of x, up to kVectorRows: loops unroll
SSM_CONSTANT(uint, row_blocks);   // of all rows of x
// Every eight elements of x, the weight and the norm's weight start at a multiple of 16 bytes.
SSM_CONSTANT(bool, aligned_loads);
SSM_CONSTANT(uint, vector_outputs);  // of a simdgroup, up to kVectorOutputs

// vector_rows rows of x, from `first` on. The last block ends with the last row, so it may begin
// with rows of the block before: the first `done`, which it does not write.
struct RowBlock {
  uint first, done;
};

// Neighbouring threadgroups take the blocks of the same weights, which the later ones find in
// cache.
inline RowBlock row_block(uint threadgroup_index, uint rows) {
  const uint wanted = threadgroup_index % row_blocks * vector_rows;
  RowBlock block;
  block.first = min(wanted, rows - vector_rows);
  block.done = wanted - block.first;
  return block;
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

// What a lane has of the sums of vector_outputs outputs of vector_rows rows.
struct OutputSums {
  float of[kVectorOutputs][kVectorRows];
};

// Adds `part`, each row of it times its own factor.
ALWAYS_INLINE void add_scaled(thread OutputSums& sum, thread const OutputSums& part,
                              thread const float (&factor)[kVectorRows]) {
  UNROLL for (uint r = 0; r < vector_rows; ++r) {
    UNROLL for (uint j = 0; j < vector_outputs; ++j) sum.of[j][r] += factor[r] * part.of[j][r];
  }
}

// Row r of the simdgroup's output j in lane j, which finishes it. The whole simdgroup calls it.
ALWAYS_INLINE float own_output(thread const OutputSums& sum, uint r, uint lane) {
  float mine = 0.0f;
  UNROLL for (uint j = 0; j < vector_outputs; ++j) {
    const float total = simd_sum(sum.of[j][r]);
    if (lane == j) mine = total;
  }
  return mine;
}
