// Quantised matrices, in MLX's layouts: a row is a stream of `bits` bits a value, the lowest bits
// first and without gaps, in uint32 words. Each group of `group_size` consecutive columns has
// numbers of its own:
//   affine  w = scale * q + bias, where q is a whole number
//   mxfp4   w = scale * q, where q is a float of 4 bits (e2m1) and the scale a power of two (e8m0)
//   nvfp4   the same with a scale that is a float of 8 bits (e4m3)
// (OCP Microscaling Formats (MX) v1.0, section 5; mlx: backend/cpu/quantized.cpp)
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "metal/types.h"
#include "native/operation.h"

namespace ssm::cpu {

struct QuantizedMatrix {
  const uint32_t* words;  // (rows, cols * bits / 32)
  const void* scales;     // (rows, cols / group_size): any float type, or uint8
  const void* biases;     // the same; null unless affine
  DataType scale_type;
  QuantizedMode mode;
  uint32_t cols;
  uint32_t bits;
  uint32_t group_size;

  // Writes row `row` as float32 to out (cols).
  void dequantize_row(size_t row, float* out) const;
};

// Bindings first, first + 1, first + 2 of an operation as a matrix. Params: those of the operation.
template <class Params>
QuantizedMatrix quantized_matrix(const Operation& operation, size_t first, uint32_t cols,
                                 const Params& p) {
  return {.words = operation.data<const uint32_t>(first),
          .scales = operation.data<const void>(first + 1),
          .biases = operation.data<const void>(first + 2),
          .scale_type = operation.bindings[first + 1].type,
          .mode = static_cast<QuantizedMode>(p.mode),
          .cols = cols,
          .bits = p.bits,
          .group_size = p.group_size};
}

// Sign, two bits of exponent, one of fraction.
inline constexpr float kE2m1[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                    -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};

// Sign, four bits of exponent, three of fraction; all ones is NaN.
inline float e4m3(uint8_t code) {
  const int exponent = code >> 3 & 15, fraction = code & 7;
  if (exponent == 15 && fraction == 7) return NAN;
  const int significand = exponent == 0 ? fraction : 8 + fraction;
  const float magnitude = std::ldexp(static_cast<float>(significand), std::max(exponent, 1) - 10);
  return code >= 128 ? -magnitude : magnitude;
}

// An exponent alone; 255, which stands for NaN, is infinity, as in MLX.
inline float e8m0(uint8_t code) { return std::ldexp(1.0f, code - 127); }

}  // namespace ssm::cpu
