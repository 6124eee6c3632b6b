// The numbers of quantised weights (native/cpu/quantized.h) as vectors: values in the order of
// their columns, and scales and biases of groups.
#pragma once

#include "metal/types.h"
#include "native/cpu/fast/kernels.h"
#include "native/cpu/fast/mat_vec_kernels.h"
#include "native/cpu/fast/vector.h"

namespace ssm::cpu::SSM_LEVEL {

// Whole numbers of kBits bits.
template <size_t kBitsOfValue>
struct WholeNumbers {
  static constexpr size_t kBits = kBitsOfValue;
  static SSM_INLINE Floats floats_of(Words q) { return to_floats(bits_as<Ints>(q)); }
};

// Floats of four bits (e2m1). Twice a magnitude is a whole number of four bits.
struct SmallFloats {
  static constexpr size_t kBits = 4;
  static SSM_INLINE Floats floats_of(Words q) {
    constexpr uint32_t kDoubled = 0xc8643210;
    const Words doubled = ((Words{} + kDoubled) >> ((q & 7u) << 2)) & 15u;
    const Floats magnitude = to_floats(bits_as<Ints>(doubled)) * splat(0.5f);
    return bits_as<Floats>(bits_as<Words>(magnitude) | (q & 8u) << 28);
  }
};

// kWidth values from column `col` on, a multiple of that, of a row. Four values lie in 32 bits,
// from a byte on or from the middle of one.
template <class Values>
SSM_INLINE Floats load_values(const uint8_t* row, size_t col) {
  constexpr size_t kBits = Values::kBits, kFours = kWidth / 4;
  uint32_t fours[kFours < 2 ? 2 : kFours];
#pragma GCC unroll 2
  for (size_t i = 0; i < kFours; i += 2) {
    uint64_t eight = 0;  // values
    __builtin_memcpy(&eight, row + (col + 4 * i) / 8 * kBits, kBits);
    if (kWidth == 4 && col % 8 == 4) eight >>= 4 * kBits;
    fours[i] = static_cast<uint32_t>(eight);
    fours[i + 1] = static_cast<uint32_t>(eight >> (4 * kBits));
  }
  Words words = Words{} + fours[0], shifts;
#pragma GCC unroll 4
  for (size_t i = 1; i < kFours; ++i) {
    Words is_later;
    for (size_t lane = 0; lane < kWidth; ++lane) is_later[lane] = lane >= 4 * i ? ~0u : 0u;
    words = (words & ~is_later) | (is_later & fours[i]);
  }
  for (size_t lane = 0; lane < kWidth; ++lane) {
    shifts[lane] = static_cast<uint32_t>(lane % 4 * kBits);
  }
  return Values::floats_of(words >> shifts & ((1u << kBits) - 1));
}

// Scales of uint8, as Float16Weights has those of float16.
SSM_INLINE Words load_codes(const uint8_t* from) {
  typedef uint8_t Bytes __attribute__((vector_size(kWidth)));
  return __builtin_convertvector(load<Bytes>(from), Words);
}
struct E8m0Scales {
  static constexpr size_t kBytes = 1;
  static SSM_INLINE Floats load_floats(const uint8_t* from) {
    const Words codes = load_codes(from);
    const Floats tiny = bits_as<Floats>(Words{} + 0x00400000u);  // 2^-127
    return select(codes == 0, tiny, bits_as<Floats>(codes << 23));
  }
};
struct E4m3Scales {
  static constexpr size_t kBytes = 1;
  static SSM_INLINE Floats load_floats(const uint8_t* from) {
    const Words codes = load_codes(from), magnitude = codes & 127u;
    const Floats subnormal = to_floats(bits_as<Ints>(magnitude)) * splat(1.0f / 512.0f);
    const Floats normal = bits_as<Floats>((magnitude << 20) + 0x3c000000u);
    const Floats finite = select(magnitude < 8, subnormal, normal);
    const Floats value = select(magnitude == 127, splat(__builtin_nanf("")), finite);
    return bits_as<Floats>(bits_as<Words>(value) | (codes & 128u) << 24);
  }
};

// Groups whose scales are turned into float32 at once.
inline constexpr size_t kScaleChunk = 32;

// Calls body with what loads the scales of a matrix, and its biases if there are any.
template <class Body>
SSM_INLINE void with_scales(const QuantizedRows& w, Body body) {
  if (w.mode == kMxfp4) return body(E8m0Scales{});
  if (w.mode == kNvfp4) return body(E4m3Scales{});
  if (w.scale_type == kFloat16) return body(Float16Weights{});
  if (w.scale_type == kBFloat16) return body(BFloat16Weights{});
  return body(Float32Weights{});
}

// count scales or biases from element `first` on.
template <class Scales>
SSM_INLINE void load_scales(const void* from, size_t first, size_t count, float* to) {
  const uint8_t* at = static_cast<const uint8_t*>(from) + first * Scales::kBytes;
  const auto whole = [&](size_t i) __attribute__((always_inline)) {
    store(to + i, Scales::load_floats(at + i * Scales::kBytes));
  };
  if (count < kWidth) return store(to, load_part<Scales>(at, count));
  for (size_t i = 0; i + kWidth <= count; i += kWidth) whole(i);
  whole(count - kWidth);  // what is left, and some of it once more: a copy of a few bytes is slow
}

// Scales and biases of kRows rows for the groups of a chunk, one row after the other.
template <size_t kRows>
struct GroupNumbers {
  alignas(64) float scales[kRows * kScaleChunk];
  alignas(64) float biases[kRows * kScaleChunk + kWidth];  // read as whole vectors
};

// Those of groups `chunk` to `chunk + count`, of `groups` of a row, for rows from `first` on.
template <size_t kRows>
SSM_INLINE void load_numbers(GroupNumbers<kRows>& to, const QuantizedRows& w, size_t first,
                             size_t groups, size_t chunk, size_t count) {
  // Where a chunk is a whole row, those of all rows lie one after the other.
  const size_t runs = count == groups ? 1 : kRows;
  for (size_t n = 0; n < runs; ++n) {
    const size_t at = (first + n) * groups + chunk, length = kRows / runs * count;
    with_scales(
        w, [&](auto scales) __attribute__((always_inline)) {
          using Scales = decltype(scales);
          load_scales<Scales>(w.scales, at, length, to.scales + n * count);
          if (w.biases != nullptr) {
            load_scales<Scales>(w.biases, at, length, to.biases + n * count);
          }
        });
  }
}

// The same as a call: for loops that are not those of most weights, or much slower than the call.
// All formats of scales are more code than the loop, and take the compiler longer.
template <size_t kRows>
__attribute__((noinline)) void call_load_numbers(GroupNumbers<kRows>& to, const QuantizedRows& w,
                                                 size_t first, size_t groups, size_t chunk,
                                                 size_t count) {
  load_numbers(to, w, first, groups, chunk, count);
}

// Adds the biases of `count` groups times the sums of x over them.
template <size_t kRows, size_t kInputs>
SSM_INLINE void add_biases(Floats (&total)[kInputs][kRows], const float* biases,
                           const float* x_sums, size_t packed_stride, size_t count) {
  for (size_t g = 0; g < count; g += kWidth) {
    for (size_t n = 0; n < kRows; ++n) {
      const Floats bias = first_lanes(load(biases + n * count + g), count - g);
      for (size_t r = 0; r < kInputs; ++r) {
        total[r][n] += bias * load(x_sums + r * packed_stride + g);
      }
    }
  }
}

}  // namespace ssm::cpu::SSM_LEVEL
