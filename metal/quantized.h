// Quantised matrices, in MLX's layouts: a row is a stream of value_bits bits a value, the lowest
// bits first and without gaps, in 32-bit words. Each group of `group_size` consecutive columns has
// numbers of its own:
//   affine  w = scale * q + bias, where q is a whole number of 4, 5, 6 or 8 bits
//   mxfp4   w = scale * q, where q is a float of 4 bits (e2m1) and the scale a power of two (e8m0)
//   nvfp4   the same with a scale that is a float of 8 bits (e4m3)
// What kernels share.
#pragma once
#include "metal/common.h"

SSM_CONSTANT(uint, mode);  // enum QuantizedMode
SSM_CONSTANT(uint, value_bits);
SSM_CONSTANT(bool, has_biases);  // as affine matrices have

// The bits of eight neighbouring values, which take value_bits bytes.
struct Eight {
  uint low, high;
};

// From the words that have them, where they begin with this byte of the first one.
inline Eight eight_of(uint first, uint second, uint byte) {
  Eight eight;
  eight.low = byte == 0 ? first : first >> (8 * byte) | second << (32 - 8 * byte);
  eight.high = second >> (8 * byte);
  return eight;
}

// Whether eight values may reach into a second word.
inline bool has_second_word() { return value_bits > 4; }

// The values of a row from column `col` on, a multiple of eight.
inline Eight load_eight(device const uint* row, uint col) {
  const uint byte = col / 8 * value_bits;
  device const uint* words = row + byte / 4;
  return eight_of(words[0], has_second_word() ? words[1] : 0u, byte % 4);
}

// Words of a row.
inline uint row_words(uint cols) { return cols / 8 * value_bits / 4; }

// The bits of value i.
inline uint value_at(Eight eight, uint i) {
  const uint at = i * value_bits;
  const uint from = at >= 32               ? eight.high >> (at - 32)
                    : at + value_bits > 32 ? eight.low >> at | eight.high << (32 - at)
                                           : eight.low >> at;
  return from & ((1u << value_bits) - 1);
}

// A float of four bits, sign, two of exponent, one of fraction: 0, 0.5, 1, 1.5, 2, 3, 4 or 6.
inline float e2m1(uint code) {
  const uint magnitude = code & 7u;
  const float normal = as_type<float>((magnitude << 22) + 0x3f000000u);
  const float value = magnitude < 2 ? 0.5f * float(magnitude) : normal;
  return as_type<float>(as_type<uint>(value) | (code & 8u) << 28);
}

// Values 4 * half to 4 * half + 3.
inline float4 half_of(Eight eight, uint half_index) {
  const uint4 q = uint4(value_at(eight, 4 * half_index), value_at(eight, 4 * half_index + 1),
                        value_at(eight, 4 * half_index + 2), value_at(eight, 4 * half_index + 3));
  if (mode == kAffine) return float4(q);
  return float4(e2m1(q.x), e2m1(q.y), e2m1(q.z), e2m1(q.w));
}

// The scale of a group.
template <class Scale>
inline float scale_of(Scale scale) {
  return float(scale);
}
inline float scale_of(uchar code) {
  // e8m0: an exponent alone. 2^-127 is no normal number.
  if (mode == kMxfp4) return as_type<float>(code == 0 ? 0x00400000u : uint(code) << 23);
  // e4m3: sign, four bits of exponent, three of fraction; all ones is NaN.
  const uint magnitude = code & 127u;
  const uint normal = magnitude == 127 ? 0x7fc00000u : (magnitude << 20) + 0x3c000000u;
  const float value = magnitude < 8 ? float(magnitude) / 512.0f : as_type<float>(normal);
  return as_type<float>(as_type<uint>(value) | (code & 128u) << 24);
}

// What the values of a group are multiplied by, and what is added then, in affine matrices.
struct GroupNumbers {
  float scale, bias;
};
template <class Scale>
inline GroupNumbers numbers_of(device const Scale* scales, device const Scale* biases,
                               ulong group) {
  GroupNumbers numbers;
  numbers.scale = scale_of(scales[group]);
  numbers.bias = has_biases ? scale_of(biases[group]) : 0.0f;
  return numbers;
}

// Values 4 * half to 4 * half + 3 as the numbers that they stand for. Without a bias nothing is
// added: -0 stays that.
inline float4 dequantized(Eight eight, uint half_index, GroupNumbers numbers) {
  const float4 scaled = numbers.scale * half_of(eight, half_index);
  return has_biases ? scaled + numbers.bias : scaled;
}

// Numbers of a table times what a model multiplies them by. MLX looks tables of mxfp4 and nvfp4 up
// as bfloat16, which holds each of them, and rounds the factor and the product to it.
inline float4 looked_up(float4 numbers, float factor) {
  if (mode == kAffine) return factor * numbers;
  const float4 product = float(bfloat(factor)) * numbers;
  return float4(float(bfloat(product.x)), float(bfloat(product.y)), float(bfloat(product.z)),
                float(bfloat(product.w)));
}

// Writes the eight numbers from column `col` on, times `factor`, of a row whose words, scales and
// biases are given. Shifts find the group: a division by a number that the compiler does not know
// takes some twenty instructions.
template <class T, class Scale>
inline void dequantize_eight(device const uint* words, device const Scale* scales,
                             device const Scale* biases, uint col, uint group_size, float factor,
                             device T* out) {
  const Eight eight = load_eight(words, col);
  const GroupNumbers numbers = numbers_of(scales, biases, col >> ctz(group_size));
  for (uint i = 0; i < 2; ++i) {
    store4(out + col + 4 * i, looked_up(dequantized(eight, i, numbers), factor));
  }
}
