// Rows of a quantised weight times rows of x, as mat_vec_kernels.h, of any format. Values of other
// sizes than 4 and 8 bits, and those that are floats, are multiplied in the order of their columns.
// x is packed for it once for all rows of the weight: its numbers as the format wants them, and
// behind them the sums of the columns of each group, for the biases.
#pragma once

#include "metal/types.h"
#include "native/cpu/fast/kernels.h"
#include "native/cpu/fast/masked_mat_vec_kernels.h"
#include "native/cpu/fast/quantized_values.h"
#include "native/cpu/fast/vector.h"

namespace ssm::cpu::SSM_LEVEL {

// Whether masked_mat_vec_kernels.h multiplies it.
SSM_INLINE bool is_masked(const QuantizedRows& w) {
  return w.mode == kAffine && (w.bits == 4 || w.bits == 8);
}

// Floats before the sums.
SSM_INLINE size_t packed_values(const QuantizedRows& w) {
  return is_masked(w) ? masked_values(w.cols, w.bits) : w.cols;
}

static size_t quantized_packed_size(const QuantizedRows& w) {
  const size_t vectors = (w.cols / w.group_size + kWidth - 1) / kWidth;
  return packed_values(w) + vectors * kWidth;
}

// x (cols) to packed (quantized_packed_size).
static void quantized_pack(const QuantizedRows& w, const float* x, float* packed) {
  if (is_masked(w)) {
    pack_masked(x, w.cols, w.bits, packed);
  } else {
    __builtin_memcpy(packed, x, w.cols * sizeof(float));
  }
  // Group sizes are multiples of every width.
  float* sums = packed + packed_values(w);
  for (size_t first = 0; first < w.cols; first += w.group_size) {
    Floats v = {};
    for (size_t i = 0; i < w.group_size; i += kWidth) v += load(x + first + i);
    *sums++ = sum(v);
  }
  for (size_t group = w.cols / w.group_size; group % kWidth != 0; ++group) *sums++ = 0.0f;
}

// kRows rows of the weight from row `first` on, times kInputs packed rows of x.
template <class Values, size_t kRows, size_t kInputs>
SSM_INLINE void ordered_block(const QuantizedRows& w, size_t first, const float* packed,
                              size_t packed_stride, float* sums) {
  const size_t groups = w.cols / w.group_size, row_bytes = size_t{w.cols} / 8 * Values::kBits;
  const float* x_sums = packed + w.cols;
  const uint8_t* row = reinterpret_cast<const uint8_t*>(w.words) + first * row_bytes;
  GroupNumbers<kRows> numbers;
  Floats total[kInputs][kRows] = {};
  for (size_t chunk = 0; chunk < groups; chunk += kScaleChunk, x_sums += kScaleChunk) {
    const size_t count = groups - chunk < kScaleChunk ? groups - chunk : kScaleChunk;
    call_load_numbers(numbers, w, first, groups, chunk, count);
    if (w.biases != nullptr) add_biases(total, numbers.biases, x_sums, packed_stride, count);
    for (size_t g = 0; g < count; ++g) {
      Floats products[kInputs][kRows] = {};
      const size_t begin = (chunk + g) * w.group_size;
      for (size_t col = begin; col < begin + w.group_size; col += kWidth) {
        Floats xs[kInputs];
        for (size_t r = 0; r < kInputs; ++r) xs[r] = load(packed + r * packed_stride + col);
        for (size_t n = 0; n < kRows; ++n) {
          const Floats values = load_values<Values>(row + n * row_bytes, col);
          for (size_t r = 0; r < kInputs; ++r) products[r][n] += xs[r] * values;
        }
      }
      for (size_t n = 0; n < kRows; ++n) {
        const Floats scale = splat(numbers.scales[n * count + g]);
        for (size_t r = 0; r < kInputs; ++r) total[r][n] += products[r][n] * scale;
      }
    }
  }
  for (size_t r = 0; r < kInputs; ++r) {
    for (size_t n = 0; n < kRows; ++n) sums[r * w.count + n] = sum(total[r][n]);
  }
}

template <class Values, size_t kRows>
void ordered_rows(const QuantizedRows& w, size_t first, const float* packed, size_t packed_stride,
                  size_t x_rows, float* sums) {
  size_t r = 0;
  for (; r + 2 <= x_rows; r += 2) {
    ordered_block<Values, kRows, 2>(w, first, packed + r * packed_stride, packed_stride,
                                    sums + r * w.count);
  }
  if (r < x_rows) {
    ordered_block<Values, kRows, 1>(w, first, packed + r * packed_stride, packed_stride,
                                    sums + r * w.count);
  }
}

template <class Values>
void ordered_matrix(const QuantizedRows& w, const float* packed, size_t packed_stride,
                    size_t x_rows, float* sums) {
  constexpr size_t kRows = 4;
  size_t n = 0;
  for (; n + kRows <= w.count; n += kRows) {
    ordered_rows<Values, kRows>(w, w.first + n, packed, packed_stride, x_rows, sums + n);
  }
  for (; n < w.count; ++n) {
    ordered_rows<Values, 1>(w, w.first + n, packed, packed_stride, x_rows, sums + n);
  }
}

// sums (x_rows, w.count) = x · wᵀ, with rows of x as quantized_pack leaves them.
static void quantized_mat_vec(const QuantizedRows& w, const float* packed, size_t packed_stride,
                              size_t x_rows, float* sums) {
  if (w.mode != kAffine) {
    return ordered_matrix<SmallFloats>(w, packed, packed_stride, x_rows, sums);
  }
  switch (w.bits) {
    case 4:
      return masked_matrix_of<4>(w, packed, packed_stride, x_rows, sums);
    case 5:
      return ordered_matrix<WholeNumbers<5>>(w, packed, packed_stride, x_rows, sums);
    case 6:
      return ordered_matrix<WholeNumbers<6>>(w, packed, packed_stride, x_rows, sums);
    default:
      return masked_matrix_of<8>(w, packed, packed_stride, x_rows, sums);
  }
}

}  // namespace ssm::cpu::SSM_LEVEL
