#include "native/cpu/affine.h"

#include <bit>

namespace ssm::cpu {

// Reads words as bytes: lowest bits first, on a little-endian machine, is byte order, and loops
// over bytes vectorise.
static_assert(std::endian::native == std::endian::little);

void AffineMatrix::dequantize_row(size_t row, float* out) const {
  const size_t groups = cols / group_size;
  const auto* q = reinterpret_cast<const uint8_t*>(words) + row * cols * bits / 8;
  with_float_type(scale_type, [&](auto* type) {
    using Scale = decltype(type);
    const auto* scale = static_cast<Scale>(scales) + row * groups;
    const auto* bias = static_cast<Scale>(biases) + row * groups;
    for (size_t group = 0; group < groups; ++group, out += group_size) {
      const float s = to_float(scale[group]), b = to_float(bias[group]);
      if (bits == 8) {
        for (size_t i = 0; i < group_size; ++i) out[i] = s * static_cast<float>(q[i]) + b;
        q += group_size;
      } else {
        for (size_t i = 0; i < group_size / 2; ++i) {
          out[2 * i] = s * static_cast<float>(q[i] & 15) + b;
          out[2 * i + 1] = s * static_cast<float>(q[i] >> 4) + b;
        }
        q += group_size / 2;
      }
    }
  });
}

AffineMatrix affine_matrix(const Operation& operation, size_t first, uint32_t cols, uint32_t bits,
                           uint32_t group_size) {
  return {.words = operation.data<const uint32_t>(first),
          .scales = operation.data<const void>(first + 1),
          .biases = operation.data<const void>(first + 2),
          .scale_type = operation.bindings[first + 1].type,
          .cols = cols,
          .bits = bits,
          .group_size = group_size};
}

}  // namespace ssm::cpu
