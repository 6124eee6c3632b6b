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

// Values of one output that a lane of quantized_matvec may take at once.
struct LaneValues {
  uint32_t most, least;
};

// The part of x that a threadgroup of quantized_matvec has in its memory at a time.
struct Staging {
  uint32_t lane_values;  // that a lane takes at once: they decide over the order of a row's sums
  uint32_t columns;      // of each row of x
  uint32_t parts;        // of such a row, one for each lane that takes some
};

// The most columns of so many rows that fit: all within three quarters of the memory, so that there
// is room for the sums.
inline uint32_t most_fitting(uint32_t rows, const Limits& limits) {
  return limits.threadgroup_memory / 16 * 3 / rows;
}

// The most columns of so many rows.
inline uint32_t most_staged(uint32_t rows, const Limits& limits) {
  return std::min(limits.tuning.staged_columns / rows, most_fitting(rows, limits));
}

inline uint32_t lane_values_of(uint32_t rows, LaneValues lane, const Limits& limits) {
  return most_staged(rows, limits) >= lane.most * kSimdWidth ? lane.most : lane.least;
}

// `rows`: of a block. `group`: columns normed together.
inline Staging staging_of(uint32_t rows, uint32_t group, LaneValues lane, const Limits& limits) {
  Staging result;
  result.lane_values = lane_values_of(rows, lane, limits);
  const uint32_t block = result.lane_values * kSimdWidth;
  result.columns =
      std::clamp(most_staged(rows, limits) / block, 1u, ceil_divide(group, block)) * block;
  result.parts = result.columns / result.lane_values;
  return result;
}

// Rows of a block at most: a block of columns of each has to fit. Where the bits of a row must not
// depend on how many there are, there are so few that a lane takes as many values as it does for a
// row alone.
inline uint32_t most_rows_of(LaneValues lane, const Limits& limits) {
  uint32_t rows = limits.tuning.vector_rows;
  const uint32_t alone = lane_values_of(1, lane, limits);
  const auto is_allowed = [&] {
    if (most_fitting(rows, limits) < lane.least * kSimdWidth) return false;
    return limits.tuning.batch_invariant == 0 || lane_values_of(rows, lane, limits) == alone;
  };
  while (rows > 1 && !is_allowed()) rows -= 1;
  return rows;
}

}  // namespace ssm::metal
