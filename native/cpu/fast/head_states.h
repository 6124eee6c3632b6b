// The state of a head transposed, as panels of columns, which products of tiles take
// (fast/tile_kernels.h), and back.
#pragma once

#include <algorithm>
#include <cstddef>

#include "native/cpu/fast/kernels.h"
#include "native/data_type.h"

namespace ssm::cpu::fast {

// Of S (rows, cols); a panel has so many floats.
class HeadStates {
 public:
  HeadStates(const Kernels& kernels, uint32_t rows, uint32_t cols, size_t floats)
      : kernels_(kernels),
        rows_(rows),
        cols_(cols),
        panel_(floats / ((rows + kernels.tile_cols - 1) / kernels.tile_cols)) {}

  void transpose(const float* S, float* transposed) const {
    for (size_t row = 0; row < rows_; row += kernels_.tile_cols) {
      const size_t count = std::min<size_t>(kernels_.tile_cols, rows_ - row);
      const PlainRows rows = {
          .weights = S, .type = kFloat32, .cols = cols_, .first = row, .count = count};
      kernels_.pack_plain(rows, 0, cols_, transposed + row / kernels_.tile_cols * panel_);
    }
  }

  void transpose_back(const float* transposed, float* S) const {
    for (size_t row = 0; row < rows_; ++row) {
      const float* from = transposed + row / kernels_.tile_cols * panel_;
      const size_t column = row % kernels_.tile_cols;
      for (size_t n = 0; n < cols_; ++n) S[row * cols_ + n] = from[n * kernels_.tile_cols + column];
    }
  }

 private:
  const Kernels& kernels_;
  const uint32_t rows_, cols_;
  const size_t panel_;  // floats
};

}  // namespace ssm::cpu::fast
