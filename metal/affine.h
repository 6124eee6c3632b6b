// The affine quantised format, in MLX's layout: rows of 32-bit words, 32 / bits values a word,
// lowest bits first; w = scale * q + bias, one scale and one bias for each group of `group_size`
// consecutive columns. What kernels share.
#pragma once
#include "metal/common.h"

// Values number 4 * quarter to 4 * quarter + 3 of a word; of 8-bit values a word has one quarter.
inline float4 quarter_of(uint word, uint bits, uint quarter) {
  if (bits == 8) {
    return float4(float(word & 255u), float(word >> 8 & 255u), float(word >> 16 & 255u),
                  float(word >> 24));
  }
  const uint four = word >> (16 * quarter);
  return float4(float(four & 15u), float(four >> 4 & 15u), float(four >> 8 & 15u),
                float(four >> 12 & 15u));
}

// Where the values of column `col` and of its group stand in a row. Shifts, because a division by a
// number that the compiler does not know takes some twenty instructions.
struct AffineShape {
  uint word_shift;   // 1 << word_shift values a word
  uint group_shift;  // 1 << group_shift values a group
};

inline AffineShape affine_shape(uint bits, uint group_size) {
  AffineShape shape;
  shape.word_shift = bits == 8 ? 2 : 3;
  shape.group_shift = ctz(group_size);
  return shape;
}

// Writes the values of word `index` of a row, times `factor`, given the row's scales and biases.
template <class T, class Scale>
inline void dequantize_word(uint word, uint index, uint bits, AffineShape shape,
                            device const Scale* scales, device const Scale* biases, float factor,
                            device T* out) {
  const uint col = index << shape.word_shift;
  const uint group = col >> shape.group_shift;
  const float scale = float(scales[group]), bias = float(biases[group]);
  for (uint quarter = 0; 4 * quarter < 1u << shape.word_shift; ++quarter) {
    store4(out + col + 4 * quarter, factor * (scale * quarter_of(word, bits, quarter) + bias));
  }
}
