// Turns a float matrix into the affine format (quantized.h), group by group as MLX does: the end of
// the group's range with the larger magnitude becomes the bias, and the scale is adjusted so that 0
// is represented exactly. Values are rounded with the scale and bias as they are stored.
//
// Grid: one simdgroup a group of columns, threadgroups of up to 8 simdgroups. A lane takes every
// 32nd value; eight neighbouring lanes put their bits together by shuffles, and each of them writes
// a byte.
//
// Limits: a group that holds NaN or infinity gets a scale and a bias of NaN and words of 0: the
// host fails the run. A group whose scale is too small to store gets words of 0.
#include <metal_stdlib>

#include "metal/affine_quantize.h"
#include "metal/common.h"

template <class Weight, class Scale>
[[kernel]] void affine_quantize(device const Weight* w [[buffer(0)]],  // (rows, cols)
                                device uchar* words [[buffer(1)]],     // (rows, cols * bits / 8)
                                device Scale* scales [[buffer(2)]],    // (rows, cols / group_size)
                                device Scale* biases [[buffer(3)]],    // (rows, cols / group_size)
                                constant AffineQuantizeParams& p [[buffer(4)]],
                                uint threadgroup_index [[threadgroup_position_in_grid]],
                                uint lane [[thread_index_in_simdgroup]],
                                uint simdgroup [[simdgroup_index_in_threadgroup]],
                                uint simdgroups [[simdgroups_per_threadgroup]]) {
  const ulong group = ulong(threadgroup_index) * simdgroups + simdgroup;
  if (group >= ulong(p.rows) * (p.cols / p.group_size)) return;
  device const Weight* values = w + group * p.group_size;
  float low = float(values[lane]), high = low;
  bool finite = is_finite(low);
  for (uint i = 32 + lane; i < p.group_size; i += 32) {
    const float value = float(values[i]);
    finite = finite && is_finite(value);
    low = min(low, value);
    high = max(high, value);
  }
  low = simd_min(low);
  high = simd_max(high);
  finite = simd_all(finite);

  const float bins = float((1u << p.bits) - 1);
  const bool from_low = fabs(low) > fabs(high);
  const float width = max((high - low) / bins, 1e-7f);
  const float edge = from_low ? low : high;
  const float steps = round(edge / (from_low ? width : -width));
  float scale = steps == 0.0f ? (from_low ? width : -width) : edge / steps;
  float bias = steps == 0.0f ? 0.0f : edge;
  if (!finite) scale = bias = as_type<float>(0x7fc00000u);
  if (lane == 0) {
    scales[group] = Scale(scale);
    biases[group] = Scale(bias);
  }
  scale = float(Scale(scale));
  bias = float(Scale(bias));

  device uchar* out = words + group * (p.group_size / 8 * p.bits);
  for (uint i = lane; i < p.group_size; i += 32) {
    const float q = round((float(values[i]) - bias) / scale);
    // Of a scale of 0, NaN or infinity: no step at all.
    const bool counts = is_finite(scale) && scale != 0.0f && q > 0.0f;
    const uint value = counts ? uint(min(q, bins)) : 0u;
    // The bits of eight values, in two words.
    const uint at = i % 8 * p.bits;
    uint first = at < 32 ? value << at : 0u;
    uint second = at >= 32 ? value << (at - 32) : at + p.bits > 32 ? value >> (32 - at) : 0u;
    for (uint distance = 1; distance < 8; distance *= 2) {
      first |= simd_shuffle_xor(first, ushort(distance));
      second |= simd_shuffle_xor(second, ushort(distance));
    }
    const uint byte = i % 8;
    if (byte < p.bits) {
      out[i / 8 * p.bits + byte] =
          uchar(byte < 4 ? first >> (8 * byte) : second >> (8 * (byte - 4)));
    }
  }
}

// The types of the weight, then of the scales.
INSTANTIATE(affine_quantize, (float32, float16, bfloat16), (float32, float16, bfloat16));
