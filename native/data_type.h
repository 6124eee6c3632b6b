// Element types: sizes, and conversion to and from float32.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "metal/types.h"

namespace ssm {

inline size_t size_of(DataType type) {
  if (type == kUInt8) return 1;
  return type == kFloat16 || type == kBFloat16 ? 2 : 4;
}

inline const char* name_of(DataType type) {
  constexpr const char* kNames[] = {"float32", "float16", "bfloat16", "uint32", "uint8"};
  return kNames[type];
}

struct Float16 {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

inline float to_float(float x) { return x; }

inline float to_float(BFloat16 x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16);
}

// Without a branch on the value, so that loops over weights vectorise: the exponent is moved by a
// multiplication, which also turns float16 subnormals into ordinary float32 numbers.
inline float to_float(Float16 x) {
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000u) << 16;
  const uint32_t magnitude = static_cast<uint32_t>(x.bits & 0x7fffu) << 13;
  const float scaled = std::bit_cast<float>(magnitude) * 0x1p112f;
  // Exponent 31 means infinity or NaN: give it the exponent 255.
  const uint32_t special = magnitude >= 0x0f800000u ? 0x7f800000u : 0u;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(scaled) | special | sign);
}

// Round to nearest, ties to even; NaN stays NaN.
inline BFloat16 to_bfloat16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

// Round to nearest, ties to even; beyond 65504 becomes infinity; NaN stays NaN.
inline Float16 to_float16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7e00u)};
  if (magnitude >= 0x47800000u) return {static_cast<uint16_t>(sign | 0x7c00u)};
  if (magnitude < 0x38800000u) {  // below 2^-14: a float16 subnormal, a multiple of 2^-24
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;  // ulp of [0.5, 1) is 2^-24
    return {static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u))};
  }
  const uint32_t rounded = magnitude + 0x0fffu + ((magnitude >> 13) & 1u);
  return {static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}

template <class T>
T from_float(float x);
template <>
inline float from_float<float>(float x) {
  return x;
}
template <>
inline Float16 from_float<Float16>(float x) {
  return to_float16(x);
}
template <>
inline BFloat16 from_float<BFloat16>(float x) {
  return to_bfloat16(x);
}

// Calls body with a null pointer of the C++ type that stores `type`: one place turns a run-time
// type into a compile-time one.
template <class Body>
void with_float_type(DataType type, Body&& body) {
  switch (type) {
    case kFloat16:
      return body(static_cast<const Float16*>(nullptr));
    case kBFloat16:
      return body(static_cast<const BFloat16*>(nullptr));
    default:
      return body(static_cast<const float*>(nullptr));
  }
}

}  // namespace ssm
