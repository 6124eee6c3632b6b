// Turns a float matrix into the affine format (native/cpu/quantized.h), group by group as MLX does:
// the end of the group's range with the larger magnitude becomes the bias, and the scale is
// adjusted so that 0 is represented exactly. Values are rounded with the scale and bias as they are
// stored. (mlx: affine_quantize)
#include "metal/affine_quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "native/cpu/operations.h"
#include "native/failure.h"

namespace ssm::cpu {

namespace {

struct ScaleAndBias {
  float scale;
  float bias;
};

ScaleAndBias choose(float low, float high, float bins) {
  constexpr float kSmallestScale = 1e-7f;
  const bool from_low = std::abs(low) > std::abs(high);
  const float width = std::max((high - low) / bins, kSmallestScale);
  const float scale = from_low ? width : -width;
  const float edge = from_low ? low : high;
  const float steps = std::round(edge / scale);
  if (steps == 0.0f) return {scale, 0.0f};
  return {edge / steps, edge};
}

// The scale and bias of a group, before they are rounded to how they are stored.
template <class Weight>
ScaleAndBias choose_for(const Weight* values, uint32_t group_size, float bins) {
  float low = INFINITY, high = -INFINITY;
  for (uint32_t i = 0; i < group_size; ++i) {
    const float value = to_float(values[i]);
    // Each value, because min and max pass over NaN.
    if (!std::isfinite(value)) {
      throw Failed(FailureReason::bad_data, "[affineQuantize] weights hold NaN or infinity");
    }
    low = std::min(low, value);
    high = std::max(high, value);
  }
  return choose(low, high, bins);
}

// The bits of eight values, the lowest first.
template <class Weight>
uint64_t quantize_eight(const Weight* values, ScaleAndBias group, uint32_t bits, float bins) {
  uint64_t eight = 0;
  for (uint32_t j = 0; j < 8; ++j) {
    const float q = std::round((to_float(values[j]) - group.bias) / group.scale);
    // NaN (0 / 0, of a group whose scale is too small to store) becomes 0.
    const float step = q > 0.0f ? std::min(q, bins) : 0.0f;
    eight |= static_cast<uint64_t>(step) << (bits * j);
  }
  return eight;
}

template <class Weight, class Scale>
void quantize(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<AffineQuantizeParams>();
  const auto* w = operation.data<const Weight>(0);  // (rows, cols)
  auto* words = operation.data<uint8_t>(1);         // (rows, cols * bits / 8)
  auto* scales = operation.data<Scale>(2);          // (rows, cols / group_size)
  auto* biases = operation.data<Scale>(3);          // (rows, cols / group_size)
  const float bins = static_cast<float>((1u << p.bits) - 1);
  const size_t groups = size_t{p.rows} * (p.cols / p.group_size);
  threads.parallel_for(groups, p.group_size * 8, [&](size_t begin, size_t end) {
    for (size_t group = begin; group < end; ++group) {
      const auto* values = w + group * p.group_size;
      const ScaleAndBias chosen = choose_for(values, p.group_size, bins);
      scales[group] = from_float<Scale>(chosen.scale);
      biases[group] = from_float<Scale>(chosen.bias);
      const ScaleAndBias stored = {to_float(scales[group]), to_float(biases[group])};
      uint8_t* out = words + group * p.group_size / 8 * p.bits;
      for (uint32_t i = 0; i < p.group_size; i += 8, out += p.bits) {
        const uint64_t eight = quantize_eight(values + i, stored, p.bits, bins);
        std::memcpy(out, &eight, p.bits);  // the lowest bits first, on a little-endian machine
      }
    }
  });
}

}  // namespace

void affine_quantize(const Operation& operation, ThreadPool& threads) {
  with_float_type(operation.bindings[0].type, [&](auto* weight_type) {
    with_float_type(operation.bindings[2].type, [&](auto* scale_type) {
      using Weight = std::remove_const_t<std::remove_pointer_t<decltype(weight_type)>>;
      using Scale = std::remove_const_t<std::remove_pointer_t<decltype(scale_type)>>;
      quantize<Weight, Scale>(operation, threads);
    });
  });
}

}  // namespace ssm::cpu
