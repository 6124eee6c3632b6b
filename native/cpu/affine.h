// The affine quantised format, in MLX's layout: rows of uint32 words, 32 / bits values a word,
// lowest bits first; w = scale * q + bias, one scale and one bias for each group of `group_size`
// consecutive columns.
#pragma once

#include <cstddef>
#include <cstdint>

#include "native/operation.h"

namespace ssm::cpu {

struct AffineMatrix {
  const uint32_t* words;  // (rows, cols * bits / 32)
  const void* scales;     // (rows, cols / group_size), any float type
  const void* biases;     // the same
  DataType scale_type;
  uint32_t cols;
  uint32_t bits;
  uint32_t group_size;

  // Writes row `row` as float32 to out (cols).
  void dequantize_row(size_t row, float* out) const;
};

// Bindings first, first + 1, first + 2 of an operation as a matrix.
AffineMatrix affine_matrix(const Operation& operation, size_t first, uint32_t cols, uint32_t bits,
                           uint32_t group_size);

}  // namespace ssm::cpu
