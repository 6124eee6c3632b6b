// The weight of a matrix product in either form, for what multiplies steps and chunks: which of its
// rows, `count` of them from `first` on, go to which kernel.
#pragma once

#include <cstddef>
#include <cstring>

#include "native/cpu/fast/kernels.h"
#include "native/cpu/quantized.h"
#include "native/operation.h"

namespace ssm::cpu::fast {

struct FloatWeight {
  const void* weights;  // (…, inputs)
  DataType type;
  uint32_t inputs;
  const Kernels& kernels;

  size_t row_bytes() const { return inputs * size_of(type); }
  PlainRows rows(size_t first, size_t count) const {
    return {.weights = weights, .type = type, .cols = inputs, .first = first, .count = count};
  }
  // A row of x of a step takes so many floats, once it is what `multiply` takes.
  size_t prepared_size() const { return inputs; }
  void prepare(const float* x, float* to) const { std::memcpy(to, x, inputs * sizeof(float)); }
  // sums (x_rows, count)
  void multiply(size_t first, size_t count, const float* x, size_t x_stride, size_t x_rows,
                float* sums) const {
    kernels.mat_vec(rows(first, count), x, x_stride, x_rows, sums);
  }
  // Of a chunk (fast/mat_mat_kernels.h).
  void pack(size_t first, size_t count, size_t col, size_t depth, float* to) const {
    kernels.pack_plain(rows(first, count), col, depth, to);
  }
  // What `pack` reads.
  UpcomingRows upcoming(size_t first, size_t count, size_t col, size_t depth) const {
    const size_t bytes = size_of(type);
    return {static_cast<const uint8_t*>(weights) + (first * inputs + col) * bytes, row_bytes(),
            count, depth * bytes};
  }
  // As float32 (count, inputs).
  void unpack(size_t first, size_t count, float* to) const {
    with_float_type(type, [&](auto* typed) {
      const auto* from = static_cast<decltype(typed)>(weights) + first * inputs;
      for (size_t i = 0; i < count * inputs; ++i) to[i] = to_float(from[i]);
    });
  }
};

struct QuantizedWeight {
  const QuantizedMatrix& matrix;
  const Kernels& kernels;

  size_t row_bytes() const { return size_t{matrix.cols} * matrix.bits / 8; }
  QuantizedRows rows(size_t first, size_t count) const {
    return {.words = matrix.words,
            .scales = matrix.scales,
            .biases = matrix.biases,
            .scale_type = matrix.scale_type,
            .mode = matrix.mode,
            .cols = matrix.cols,
            .bits = matrix.bits,
            .group_size = matrix.group_size,
            .first = first,
            .count = count};
  }
  size_t prepared_size() const { return kernels.quantized_packed_size(rows(0, 0)); }
  void prepare(const float* x, float* to) const { kernels.quantized_pack(rows(0, 0), x, to); }
  void multiply(size_t first, size_t count, const float* x, size_t x_stride, size_t x_rows,
                float* sums) const {
    kernels.quantized_mat_vec(rows(first, count), x, x_stride, x_rows, sums);
  }
  void pack(size_t first, size_t count, size_t col, size_t depth, float* to) const {
    kernels.pack_quantized(rows(first, count), col, depth, to);
  }
  UpcomingRows upcoming(size_t first, size_t count, size_t col, size_t depth) const {
    const auto* words = reinterpret_cast<const uint8_t*>(matrix.words);
    return {words + first * row_bytes() + col * matrix.bits / 8, row_bytes(), count,
            depth * matrix.bits / 8};
  }
  void unpack(size_t first, size_t count, float* to) const {
    for (size_t n = 0; n < count; ++n) matrix.dequantize_row(first + n, to + n * matrix.cols);
  }
};

}  // namespace ssm::cpu::fast
