// Rows of a weight times rows of x: the products of a decode step, at the speed of memory. A few
// weight rows at a time, so that each vector of x that is loaded is used for all of them. What a
// row of x gives is computed in one order, whatever rows stand beside it.
#pragma once

#include "metal/types.h"
#include "native/cpu/fast/kernels.h"
#include "native/cpu/fast/vector.h"

namespace ssm::cpu::SSM_LEVEL {

struct Float32Weights {
  static constexpr size_t kBytes = 4;
  static SSM_INLINE Floats load_floats(const uint8_t* from) { return load<Floats>(from); }
};
struct Float16Weights {
  static constexpr size_t kBytes = 2;
  static SSM_INLINE Floats load_floats(const uint8_t* from) {
    return from_float16(load<Halves>(from));
  }
};
struct BFloat16Weights {
  static constexpr size_t kBytes = 2;
  static SSM_INLINE Floats load_floats(const uint8_t* from) {
    return from_bfloat16(load<Halves>(from));
  }
};

// The first n floats of a vector, the rest zero; n < kWidth.
template <class Weights>
SSM_INLINE Floats load_part(const uint8_t* from, size_t n) {
  uint8_t padded[kWidth * Weights::kBytes] = {};
  __builtin_memcpy(padded, from, n * Weights::kBytes);
  return Weights::load_floats(padded);
}

// sums[r * sums_stride + n] = sum over k of x[r, k] * w[n, k] for kRows rows of w (row_bytes apart)
// and kInputs rows of x. Two partial sums a vector lane.
template <class Weights, size_t kRows, size_t kInputs>
SSM_INLINE void plain_block(const uint8_t* w, size_t row_bytes, size_t cols, const float* x,
                            size_t x_stride, float* sums, size_t sums_stride) {
  constexpr size_t kStep = 2 * kWidth;
  Floats partial[2][kInputs][kRows] = {};
  size_t k = 0;
  const auto add = [&](size_t part, auto load_weight, auto load_x) __attribute__((always_inline)) {
    Floats xs[kInputs];
    for (size_t r = 0; r < kInputs; ++r) xs[r] = load_x(x + r * x_stride);
    for (size_t n = 0; n < kRows; ++n) {
      const Floats weight = load_weight(w + n * row_bytes);
      for (size_t r = 0; r < kInputs; ++r) partial[part][r][n] += xs[r] * weight;
    }
  };
  // The rows that come next: a row is too short for the machine to notice that it is read in order.
  const auto prefetch = [&](size_t at) __attribute__((always_inline)) {
    for (size_t n = 0; n < kRows; ++n) {
      __builtin_prefetch(w + (kRows + n) * row_bytes + at * Weights::kBytes);
    }
  };
  const auto add_whole = [&](size_t part, size_t at) __attribute__((always_inline)) {
    add(
        part, [=](const uint8_t* row) { return Weights::load_floats(row + at * Weights::kBytes); },
        [=](const float* row) { return load(row + at); });
  };
  for (; k + kStep <= cols; k += kStep) {
    prefetch(k);
    add_whole(0, k);
    add_whole(1, k + kWidth);
  }
  for (; k + kWidth <= cols; k += kWidth) add_whole(0, k);
  if (const size_t rest = cols - k; rest > 0) {
    add(
        0, [=](const uint8_t* row) { return load_part<Weights>(row + k * Weights::kBytes, rest); },
        [=](const float* row) {
          return load_part<Float32Weights>(reinterpret_cast<const uint8_t*>(row + k), rest);
        });
  }
  for (size_t r = 0; r < kInputs; ++r) {
    for (size_t n = 0; n < kRows; ++n) {
      sums[r * sums_stride + n] = sum(partial[0][r][n] + partial[1][r][n]);
    }
  }
}

// All rows of x for kRows rows of w.
template <class Weights, size_t kRows>
void plain_rows(const uint8_t* w, size_t row_bytes, size_t cols, const float* x, size_t x_stride,
                size_t x_rows, float* sums, size_t sums_stride) {
  size_t r = 0;
  for (; r + 2 <= x_rows; r += 2) {
    plain_block<Weights, kRows, 2>(w, row_bytes, cols, x + r * x_stride, x_stride,
                                   sums + r * sums_stride, sums_stride);
  }
  if (r < x_rows) {
    plain_block<Weights, kRows, 1>(w, row_bytes, cols, x + r * x_stride, x_stride,
                                   sums + r * sums_stride, sums_stride);
  }
}

template <class Weights>
void plain_matrix(const PlainRows& w, const float* x, size_t x_stride, size_t x_rows, float* sums) {
  constexpr size_t kRows = 4;
  const size_t row_bytes = w.cols * Weights::kBytes;
  const uint8_t* row = static_cast<const uint8_t*>(w.weights) + w.first * row_bytes;
  size_t n = 0;
  for (; n + kRows <= w.count; n += kRows, row += kRows * row_bytes) {
    plain_rows<Weights, kRows>(row, row_bytes, w.cols, x, x_stride, x_rows, sums + n, w.count);
  }
  for (; n < w.count; ++n, row += row_bytes) {
    plain_rows<Weights, 1>(row, row_bytes, w.cols, x, x_stride, x_rows, sums + n, w.count);
  }
}

// sums (x_rows, w.count) = x (x_rows, cols) · wᵀ
static void mat_vec(const PlainRows& w, const float* x, size_t x_stride, size_t x_rows,
                    float* sums) {
  switch (w.type) {
    case kFloat16:
      return plain_matrix<Float16Weights>(w, x, x_stride, x_rows, sums);
    case kBFloat16:
      return plain_matrix<BFloat16Weights>(w, x, x_stride, x_rows, sums);
    default:
      return plain_matrix<Float32Weights>(w, x, x_stride, x_rows, sums);
  }
}

}  // namespace ssm::cpu::SSM_LEVEL
