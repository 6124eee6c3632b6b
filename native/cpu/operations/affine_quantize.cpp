// Turns a float matrix into the affine format (affine.h), group by group as MLX does: the end of
// the group's range with the larger magnitude becomes the bias, and the scale is adjusted so that 0
// is represented exactly. Values are rounded with the scale and bias as they are stored.
// (mlx: affine_quantize)
#include "metal/affine_quantize.h"

#include <algorithm>
#include <cmath>
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

}  // namespace

void affine_quantize(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<AffineQuantizeParams>();
  auto* words = operation.data<uint32_t>(1);  // (rows, cols * bits / 32)
  const size_t groups = p.cols / p.group_size;
  const uint32_t per_word = 32 / p.bits;
  const float bins = static_cast<float>((1u << p.bits) - 1);
  with_float_type(operation.bindings[0].type, [&](auto* weight_type) {
    const auto* w =
        operation.data<std::remove_pointer_t<decltype(weight_type)>>(0);  // (rows, cols)
    with_float_type(operation.bindings[2].type, [&](auto* scale_type) {
      using Scale = std::remove_const_t<std::remove_pointer_t<decltype(scale_type)>>;
      auto* scales = operation.data<Scale>(2);  // (rows, cols / group_size)
      auto* biases = operation.data<Scale>(3);  // (rows, cols / group_size)
      threads.parallel_for(p.rows * groups, p.group_size * 8, [&](size_t begin, size_t end) {
        for (size_t group = begin; group < end; ++group) {
          const auto* values = w + group * p.group_size;
          float low = INFINITY, high = -INFINITY;
          for (uint32_t i = 0; i < p.group_size; ++i) {
            const float value = to_float(values[i]);
            // Each value, because min and max pass over NaN.
            if (!std::isfinite(value)) {
              throw Failed(FailureReason::bad_data,
                           "[affineQuantize] weights hold NaN or infinity");
            }
            low = std::min(low, value);
            high = std::max(high, value);
          }
          const ScaleAndBias chosen = choose(low, high, bins);
          scales[group] = from_float<Scale>(chosen.scale);
          biases[group] = from_float<Scale>(chosen.bias);
          const float scale = to_float(scales[group]), bias = to_float(biases[group]);
          uint32_t* out = words + group * p.group_size / per_word;
          for (uint32_t i = 0; i < p.group_size; i += per_word) {
            uint32_t word = 0;
            for (uint32_t j = 0; j < per_word; ++j) {
              const float q = std::round((to_float(values[i + j]) - bias) / scale);
              // NaN (0 / 0, of a group whose scale is too small to store) becomes 0.
              const float step = q > 0.0f ? std::min(q, bins) : 0.0f;
              word |= static_cast<uint32_t>(step) << (p.bits * j);
            }
            *out++ = word;
          }
        }
      });
    });
  });
}

}  // namespace ssm::cpu
