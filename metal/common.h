// Helpers that kernels share.
#pragma once
#include <metal_stdlib>

#include "metal/constants.h"
#include "metal/types.h"

using namespace metal;

// Before a loop over an array that has to stay in registers: with an index that is known at run
// time only it would lie in memory. Without it compilers unroll up to a size that is not
// documented.
#define UNROLL _Pragma("clang loop unroll(full)")

// Before a step of a kernel that takes arrays by reference: where a compiler thought it too large
// to inline, they would lie in memory.
#define ALWAYS_INLINE inline __attribute__((always_inline))

// Four neighbouring elements as float4. Packed vectors, because only the alignment of an element is
// certain: tensors of a mapped file start anywhere, and rows may have an odd number of columns.
inline float4 load4(device const float* p) { return float4(*(device const packed_float4*)p); }
inline float4 load4(device const half* p) { return float4(half4(*(device const packed_half4*)p)); }
// A bfloat16 is the upper half of a float32.
inline float4 load4(device const bfloat* p) {
  return as_type<float4>(uint4(ushort4(*(device const packed_ushort4*)p)) << 16);
}

// Eight neighbouring elements. `aligned`: they start at a multiple of 16 bytes, so that each access
// is as wide as it can be; there are GPUs that read one element at a time otherwise.
inline void load8(device const float* p, bool aligned, thread float4& low, thread float4& high) {
  low = aligned ? *(device const float4*)p : load4(p);
  high = aligned ? *(device const float4*)(p + 4) : load4(p + 4);
}
inline void load8(device const half* p, bool aligned, thread float4& low, thread float4& high) {
  if (aligned) {
    const uint4 bits = *(device const uint4*)p;
    low = float4(as_type<half4>(uint2(bits.x, bits.y)));
    high = float4(as_type<half4>(uint2(bits.z, bits.w)));
  } else {
    low = load4(p);
    high = load4(p + 4);
  }
}
inline void load8(device const bfloat* p, bool aligned, thread float4& low, thread float4& high) {
  if (aligned) {
    const uint4 bits = *(device const uint4*)p;
    low = as_type<float4>(
        uint4(bits.x << 16, bits.x & 0xffff0000u, bits.y << 16, bits.y & 0xffff0000u));
    high = as_type<float4>(
        uint4(bits.z << 16, bits.z & 0xffff0000u, bits.w << 16, bits.w & 0xffff0000u));
  } else {
    low = load4(p);
    high = load4(p + 4);
  }
}

inline void store4(device float* p, float4 v) { *(device packed_float4*)p = packed_float4(v); }
inline void store4(device half* p, float4 v) { *(device packed_half4*)p = packed_half4(half4(v)); }
// In one: four stores of their own tempt a compiler to share the last with store_some's, by an
// index that it knows at run time only.
inline void store4(device bfloat* p, float4 v) {
  *(device packed_ushort4*)p =
      packed_ushort4(ushort4(as_type<ushort>(bfloat(v.x)), as_type<ushort>(bfloat(v.y)),
                             as_type<ushort>(bfloat(v.z)), as_type<ushort>(bfloat(v.w))));
}

// As load4 and store4, for the last columns of a row: `count` of them are left, the others are 0.
// An element of a vector is named, not indexed by a variable: that would put the vector into
// memory.
template <class T>
inline float4 load_some(device const T* p, ulong count) {
  if (count >= 4) return load4(p);
  float4 v = float4(0.0f);
  if (count > 0) v.x = float(p[0]);
  if (count > 1) v.y = float(p[1]);
  if (count > 2) v.z = float(p[2]);
  return v;
}

template <class T>
inline void store_some(device T* p, float4 v, ulong count) {
  if (count >= 4) {
    store4(p, v);
    return;
  }
  if (count > 0) p[0] = T(v.x);
  if (count > 1) p[1] = T(v.y);
  if (count > 2) p[2] = T(v.z);
}

// Sum over the threadgroup, the same in every thread. All threads must call it. `scratch`: one
// float a simdgroup, at most 32. The order of the sum depends on the number of threads alone.
inline float threadgroup_sum(float value, threadgroup float* scratch, uint lane, uint simdgroup,
                             uint simdgroups) {
  const float part = simd_sum(value);
  if (lane == 0) scratch[simdgroup] = part;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const float total = simd_sum(lane < simdgroups ? scratch[lane] : 0.0f);
  threadgroup_barrier(mem_flags::mem_threadgroup);  // scratch may be used again
  return total;
}

// Compilers may assume that no float is NaN or infinite, unless told otherwise: look at the bits.
inline bool is_finite(float x) { return (as_type<uint>(x) & 0x7f800000u) != 0x7f800000u; }

// Floats as numbers that compare as unsigned integers do: a <= b as keys where a <= b as floats.
// -0 is +0, NaN is the largest of all.
constant constexpr uint kKeyOfNan = 0xffffffffu;
constant constexpr uint kKeyOfZero = 0x80000000u;
constant constexpr uint kKeyOfMinusInfinity = 0x007fffffu;
inline uint key_of(float x) {
  const uint bits = as_type<uint>(x);
  const uint magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return kKeyOfNan;
  if (magnitude == 0) return kKeyOfZero;
  return bits > magnitude ? ~bits : bits | 0x80000000u;
}

// The element with the largest key, of equal ones the one with the smallest index.
struct Largest {
  uint key;
  uint index;
};

inline Largest larger(Largest a, Largest b) {
  return b.key > a.key || (b.key == a.key && b.index < a.index) ? b : a;
}

// The largest of a threadgroup, the same in every thread. All threads must call it. `scratch`: two
// words a simdgroup, at most 64.
inline Largest threadgroup_largest(Largest mine, threadgroup uint* scratch, uint lane,
                                   uint simdgroup, uint simdgroups) {
  Largest part;
  part.key = simd_max(mine.key);
  part.index = simd_min(mine.key == part.key ? mine.index : 0xffffffffu);
  if (lane == 0) {
    scratch[2 * simdgroup] = part.key;
    scratch[2 * simdgroup + 1] = part.index;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const uint key = lane < simdgroups ? scratch[2 * lane] : 0;
  const uint index = lane < simdgroups ? scratch[2 * lane + 1] : 0xffffffffu;
  Largest all;
  all.key = simd_max(key);
  all.index = simd_min(key == all.key ? index : 0xffffffffu);
  threadgroup_barrier(mem_flags::mem_threadgroup);  // scratch may be used again
  return all;
}

inline float sigmoid(float x) { return 1.0f / (1.0f + precise::exp(-x)); }

inline float silu(float x) { return x / (1.0f + precise::exp(-x)); }
inline float4 silu(float4 x) { return float4(silu(x.x), silu(x.y), silu(x.z), silu(x.w)); }

// The error function, which Metal lacks; absolute error below 2e-7. Below 1 an odd polynomial,
// above it 1 - exp(-polynomial), both fitted at Chebyshev nodes; from 4 on it is 1 in float32.
inline float error_function(float x) {
  const float a = min(fabs(x), 4.0f);
  if (a < 1.0f) {
    const float s = x * x;
    float sum = 7.88249709e-5f;
    sum = sum * s - 8.01885499e-4f;
    sum = sum * s + 5.18931194e-3f;
    sum = sum * s - 2.68543288e-2f;
    sum = sum * s + 1.12835975e-1f;
    sum = sum * s - 3.76126269e-1f;
    return x * (sum * s + 1.12837917f);
  }
  float sum = 1.33093904e-5f;
  sum = sum * a - 3.17572035e-4f;
  sum = sum * a + 3.4368676e-3f;
  sum = sum * a - 2.26219859e-2f;
  sum = sum * a + 1.0331898e-1f;
  sum = sum * a + 6.39093319e-1f;
  sum = sum * a + 1.12592595f;
  sum = sum * a + 7.56968618e-4f;
  const float y = 1.0f - precise::exp(-sum);
  return x < 0.0f ? -y : y;
}
inline float gelu(float x) { return 0.5f * x * (1.0f + error_function(x * 0.70710678f)); }
inline float4 gelu(float4 x) { return float4(gelu(x.x), gelu(x.y), gelu(x.z), gelu(x.w)); }

// A NaN stays one.
inline float relu2(float x) { return x < 0.0f ? 0.0f : x * x; }
inline float4 relu2(float4 x) { return float4(relu2(x.x), relu2(x.y), relu2(x.z), relu2(x.w)); }

// log(1 + exp(x)); beyond 20 it equals x in float32. Metal has no log1p: where 1 + exp(x) would
// lose digits, the first terms of its series are exact enough.
inline float softplus(float x) {
  if (x > 20.0f) return x;
  const float e = precise::exp(x);
  if (e > 0.0625f) return precise::log(1.0f + e);
  return e * (1.0f - e * (0.5f - e * (0.33333333f - e * (0.25f - e * 0.2f))));
}

// The step size of a Mamba-2 head: clamp(softplus(dt + bias), smallest, largest).
inline float step_size(float dt, float bias, float smallest, float largest) {
  return min(max(softplus(dt + bias), smallest), largest);
}
