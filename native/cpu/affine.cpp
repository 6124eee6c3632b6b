#include "affine.h"

namespace ssm::cpu {

void AffineMatrix::dequantize_row(size_t row, float* out) const {
  const uint32_t per_word = 32 / bits;
  const uint32_t mask = (1u << bits) - 1;
  const size_t groups = cols / group_size;
  const uint32_t* row_words = words + row * (cols / per_word);
  with_float_type(scale_type, [&](auto* type) {
    using Scale = decltype(type);
    const auto* scale = static_cast<Scale>(scales) + row * groups;
    const auto* bias = static_cast<Scale>(biases) + row * groups;
    for (size_t group = 0; group < groups; ++group) {
      const float s = to_float(scale[group]), b = to_float(bias[group]);
      for (uint32_t i = 0; i < group_size; i += per_word) {
        const uint32_t word = *row_words++;
        for (uint32_t j = 0; j < per_word; ++j) {
          *out++ = s * static_cast<float>((word >> (bits * j)) & mask) + b;
        }
      }
    }
  });
}

AffineMatrix affine_matrix(const Operation& operation, size_t first, uint32_t cols, uint32_t bits,
                           uint32_t group_size) {
  return {operation.data<const uint32_t>(first),
          operation.data<const void>(first + 1),
          operation.data<const void>(first + 2),
          operation.bindings[first + 1].type,
          cols,
          bits,
          group_size};
}

}  // namespace ssm::cpu
