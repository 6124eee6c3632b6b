// How the mat-vec kernels share a product of several rows: rows of x in blocks, outputs among
// simdgroups, and the part of x that a threadgroup keeps in its memory.
#pragma once

#include "native/metal/dispatch.h"

namespace ssm::metal {

// Outputs of a simdgroup: as many as leave enough simdgroups to fill the GPU.
inline uint32_t outputs_of_simdgroup(uint32_t outputs, const Limits& limits) {
  uint32_t result = limits.tuning.vector_outputs;
  while (result > 1 && ceil_divide(outputs, result) < limits.tuning.fill) result /= 2;
  return result;
}

// How the mat-vec kernels divide the rows of x (metal/matvec.h).
struct RowBlocks {
  uint32_t count;
  uint32_t rows;  // of each
};

// Blocks of about the same size, of at most `most` rows.
inline RowBlocks row_blocks_of(uint32_t rows, uint32_t most) {
  const uint32_t count = ceil_divide(rows, most);
  return {count, ceil_divide(rows, count)};
}

// The part of x that a threadgroup of affine_matvec has in its memory at a time.
struct Staging {
  uint32_t lane_words;  // that a lane takes at once: they decide over the order of a row's sums
  uint32_t columns;     // of each row of x
  uint32_t parts;       // of such a row, one for each lane that takes some
};

// The most columns of so many rows.
inline uint32_t most_staged(uint32_t rows, const Limits& limits) {
  // All rows within three quarters of the memory: so there is room for the sums, and the smallest
  // part of eight rows fits.
  const uint32_t allowed = limits.threadgroup_memory / 16 * 3 / rows;
  return std::min(limits.tuning.staged_columns / rows, allowed);
}

inline uint32_t lane_words_of(uint32_t rows, uint32_t bits, const Limits& limits) {
  return most_staged(rows, limits) >= 4 * (32 / bits) * kSimdWidth ? 4 : 2;
}

// `rows`: of a block. `group`: columns normed together.
inline Staging staging_of(uint32_t rows, uint32_t group, uint32_t bits, const Limits& limits) {
  const uint32_t lane_values = lane_words_of(rows, bits, limits) * (32 / bits);
  const uint32_t block = lane_values * kSimdWidth;
  Staging result;
  result.lane_words = lane_words_of(rows, bits, limits);
  result.columns =
      std::clamp(most_staged(rows, limits) / block, 1u, ceil_divide(group, block)) * block;
  result.parts = result.columns / lane_values;
  return result;
}

// Rows of a block at most. Where the bits of a row must not depend on how many there are, blocks of
// a quantised weight are so small that a lane takes as many words as it does for a row alone.
inline uint32_t most_rows_of(uint32_t bits, const Limits& limits) {
  uint32_t rows = limits.tuning.vector_rows;
  if (bits == 0 || limits.tuning.batch_invariant == 0) return rows;
  const uint32_t alone = lane_words_of(1, bits, limits);
  while (rows > 1 && lane_words_of(rows, bits, limits) != alone) rows -= 1;
  return rows;
}

}  // namespace ssm::metal
