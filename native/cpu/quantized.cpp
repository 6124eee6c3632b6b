#include "native/cpu/quantized.h"

#include <bit>
#include <cstring>

namespace ssm::cpu {

// Reads words as bytes: lowest bits first, on a little-endian machine, is byte order.
static_assert(std::endian::native == std::endian::little);

namespace {

// One group to `out`. `convert` makes a number of the bits of a value.
template <class Convert>
void dequantize_group(const uint8_t* q, uint32_t bits, uint32_t group_size, float* out,
                      const Convert& convert) {
  const uint64_t mask = (1u << bits) - 1;
  for (size_t i = 0; i < group_size; i += 8, q += bits) {
    uint64_t eight = 0;  // values, which take `bits` bytes
    std::memcpy(&eight, q, bits);
    for (size_t j = 0; j < 8; ++j, eight >>= bits) {
      out[i + j] = convert(static_cast<uint32_t>(eight & mask));
    }
  }
}

}  // namespace

void QuantizedMatrix::dequantize_row(size_t row, float* out) const {
  const size_t groups = cols / group_size, group_bytes = size_t{group_size} * bits / 8;
  const auto* q = reinterpret_cast<const uint8_t*>(words) + row * groups * group_bytes;
  if (mode != kAffine) {
    const auto* codes = static_cast<const uint8_t*>(scales) + row * groups;
    for (size_t group = 0; group < groups; ++group, q += group_bytes, out += group_size) {
      const float scale = mode == kMxfp4 ? e8m0(codes[group]) : e4m3(codes[group]);
      dequantize_group(q, bits, group_size, out,
                       [=](uint32_t value) { return scale * kE2m1[value]; });
    }
    return;
  }
  with_float_type(scale_type, [&](auto* type) {
    using Scale = decltype(type);
    const auto* scale = static_cast<Scale>(scales) + row * groups;
    const auto* bias = static_cast<Scale>(biases) + row * groups;
    for (size_t group = 0; group < groups; ++group, q += group_bytes, out += group_size) {
      const float s = to_float(scale[group]), b = to_float(bias[group]);
      dequantize_group(q, bits, group_size, out,
                       [=](uint32_t value) { return s * static_cast<float>(value) + b; });
    }
  });
}

}  // namespace ssm::cpu
