// Softmax attention over blocks of keys, online: what later blocks bring scales down what earlier
// ones gave.
#pragma once

#include "metal/types.h"
#include "native/cpu/fast/kernels.h"
#include "native/cpu/fast/mat_vec_kernels.h"
#include "native/cpu/fast/tile_kernels.h"
#include "native/cpu/fast/vector.h"

namespace ssm::cpu::SSM_LEVEL {

template <class Stored>
SSM_INLINE void widen_row(const uint8_t* from, size_t n, float* to) {
  size_t i = 0;
  for (; i + kWidth <= n; i += kWidth)
    store(to + i, Stored::load_floats(from + i * Stored::kBytes));
  if (i < n) store_first(to + i, load_part<Stored>(from + i * Stored::kBytes, n - i), n - i);
}

// n numbers of a type of pages as floats.
static void widen(const void* from, uint32_t type, size_t n, float* to) {
  const auto* bytes = static_cast<const uint8_t*>(from);
  if (type == kFloat16) return widen_row<Float16Weights>(bytes, n, to);
  widen_row<Float32Weights>(bytes, n, to);
}

template <class Stored>
SSM_INLINE void pack_column_panels(const PlainRows& w, size_t first_col, size_t cols,
                                   float* packed) {
  const size_t row_bytes = w.cols * Stored::kBytes;
  const uint8_t* from =
      static_cast<const uint8_t*>(w.weights) + w.first * row_bytes + first_col * Stored::kBytes;
  for (size_t c = 0; c < cols; c += kWidth) {
    // Vectors past the last column of a panel are written as zeros.
    float* to = packed + c / kTileCols * kTileCols * w.count + c % kTileCols;
    const size_t left = cols - c;
    for (size_t j = 0; j < w.count; ++j) {
      const uint8_t* at = from + j * row_bytes + c * Stored::kBytes;
      store(to + j * kTileCols,
            left >= kWidth ? Stored::load_floats(at) : load_part<Stored>(at, left));
    }
  }
}

// Columns first_col to first_col + cols of rows of a matrix as the `b` of a tile whose depth is the
// rows: panels (count, kTileCols) of columns. What a panel has beyond the last column is not
// written in whole vectors, and nobody reads its sums.
static void pack_columns(const PlainRows& w, size_t first_col, size_t cols, float* packed) {
  if (w.type == kFloat16) return pack_column_panels<Float16Weights>(w, first_col, cols, packed);
  pack_column_panels<Float32Weights>(w, first_col, cols, packed);
}

// Takes `visible` scores, each times the scale, into the softmax: leaves their weights in their
// place, and zeros up to `count`. Returns what earlier sums are to be multiplied by.
static float take_scores(float* scores, size_t visible, size_t count, float scale,
                         RunningSoftmax* softmax) {
  const Floats lowest = splat(softmax->largest);
  Floats highest = lowest;
  size_t j = 0;
  for (; j + kWidth <= visible; j += kWidth) highest = max(load(scores + j) * scale, highest);
  if (j < visible) {
    const Floats rest = load_first(scores + j, visible - j) * scale;
    for (size_t i = 0; i < visible - j; ++i)
      highest[i] = rest[i] > highest[i] ? rest[i] : highest[i];
  }
  float largest = softmax->largest;
  for (size_t i = 0; i < kWidth; ++i) largest = highest[i] > largest ? highest[i] : largest;

  Floats sums = {};
  for (j = 0; j + kWidth <= visible; j += kWidth) {
    const Floats weight = exp(load(scores + j) * scale - splat(largest));
    store(scores + j, weight);
    sums += weight;
  }
  if (j < visible) {
    const Floats rest = exp(load_first(scores + j, visible - j) * scale - splat(largest));
    const Floats weight = first_lanes(rest, visible - j);
    store_first(scores + j, weight, visible - j);
    sums += weight;
  }
  for (j = visible; j < count; ++j) scores[j] = 0.0f;
  const float correction = exp(splat(softmax->largest - largest))[0];
  softmax->total = softmax->total * correction + sum(sums);
  softmax->largest = largest;
  return correction;
}

SSM_INLINE void scale_sums(float* sums, size_t n, float factor) {
  size_t i = 0;
  for (; i + kWidth <= n; i += kWidth) store(sums + i, load(sums + i) * factor);
  for (; i < n; ++i) sums[i] *= factor;
}

// Multiplies n sums by a factor, which is mostly 1.
static void correct_sums(float* sums, size_t n, float factor) {
  if (factor != 1.0f) scale_sums(sums, n, factor);
}

// sums += weights · values for kVectors vectors of columns, held in registers.
template <size_t kVectors>
SSM_INLINE void add_weighted(const float* weights, const float* values, size_t row_stride,
                             size_t count, float* sums) {
  Floats total[kVectors];
  for (size_t i = 0; i < kVectors; ++i) total[i] = load(sums + i * kWidth);
  for (size_t j = 0; j < count; ++j) {
    const float* v = values + j * row_stride;
    for (size_t i = 0; i < kVectors; ++i) total[i] += splat(weights[j]) * load(v + i * kWidth);
  }
  for (size_t i = 0; i < kVectors; ++i) store(sums + i * kWidth, total[i]);
}

// Takes `count` keys, row_stride apart, and their values into the softmax and the sums of one query
// head. `scores` has room for count numbers.
static void attend_keys(const float* q, const float* keys, const float* values, size_t row_stride,
                        size_t count, size_t head_dim, float scale, float* scores,
                        RunningSoftmax* softmax, float* sums) {
  for (size_t j = 0; j < count; ++j) scores[j] = dot(q, keys + j * row_stride, head_dim);
  correct_sums(sums, head_dim, take_scores(scores, count, count, scale, softmax));
  size_t d = 0;
  for (; d + 8 * kWidth <= head_dim; d += 8 * kWidth) {
    add_weighted<8>(scores, values + d, row_stride, count, sums + d);
  }
  for (; d + kWidth <= head_dim; d += kWidth) {
    add_weighted<1>(scores, values + d, row_stride, count, sums + d);
  }
  for (; d < head_dim; ++d) {
    for (size_t j = 0; j < count; ++j) sums[d] += scores[j] * values[j * row_stride + d];
  }
}

// out = sums / total, times sigmoid(gate) unless that is null.
static void finish_head(const float* sums, float total, const float* gate, size_t n, float* out) {
  for (size_t i = 0; i < n; i += kWidth) {
    const size_t count = n - i < kWidth ? n - i : kWidth;
    Floats y = load_first(sums + i, count) / total;
    if (gate != nullptr) y = y / (splat(1.0f) + exp(-load_first(gate + i, count)));
    store_first(out + i, y, count);
  }
}

}  // namespace ssm::cpu::SSM_LEVEL
