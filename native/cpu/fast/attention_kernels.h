// Softmax attention of one query over a ring of keys and values.
#pragma once

#include "native/cpu/fast/vector.h"

namespace ssm::cpu::SSM_LEVEL {

// kVectors vectors of attend's result from column 0 of `values` on, held in registers.
template <size_t kVectors>
SSM_INLINE void weighted_sum(const float* weights, const float* values, size_t row_stride,
                             size_t window, size_t oldest, size_t count, float* out) {
  Floats total[kVectors] = {};
  size_t slot = oldest;
  for (size_t j = 0; j < count; ++j) {
    const float* v = values + slot * row_stride;
    for (size_t i = 0; i < kVectors; ++i) total[i] += splat(weights[j]) * load(v + i * kWidth);
    slot = slot + 1 == window ? 0 : slot + 1;
  }
  for (size_t i = 0; i < kVectors; ++i) store(out + i * kWidth, total[i]);
}

// out = sum over j of softmax(scale * q . key(j)) * value(j), j from 0 to count - 1 (the oldest key
// first). Key j is row (oldest + j) mod window of `keys`, whose rows are row_stride apart; values
// likewise. `scores` has room for count numbers.
static void attend(const float* q, const float* keys, const float* values, size_t row_stride,
                   size_t window, size_t oldest, size_t count, size_t head_dim, float scale,
                   float* scores, float* out) {
  size_t slot = oldest;
  float largest = -__builtin_inff();
  for (size_t j = 0; j < count; ++j) {
    scores[j] = scale * dot(q, keys + slot * row_stride, head_dim);
    largest = scores[j] > largest ? scores[j] : largest;
    slot = slot + 1 == window ? 0 : slot + 1;
  }
  Floats sums = {};
  size_t j = 0;
  for (; j + kWidth <= count; j += kWidth) {
    const Floats weight = exp(load(scores + j) - splat(largest));
    store(scores + j, weight);
    sums += weight;
  }
  float total = sum(sums);
  for (; j < count; ++j) total += scores[j] = exp(splat(scores[j] - largest))[0];
  for (size_t i = 0; i < count; ++i) scores[i] /= total;

  size_t d = 0;
  for (; d + 8 * kWidth <= head_dim; d += 8 * kWidth) {
    weighted_sum<8>(scores, values + d, row_stride, window, oldest, count, out + d);
  }
  for (; d + kWidth <= head_dim; d += kWidth) {
    weighted_sum<1>(scores, values + d, row_stride, window, oldest, count, out + d);
  }
  for (; d < head_dim; ++d) {
    out[d] = 0.0f;
    for (size_t i = 0; i < count; ++i) {
      out[d] += scores[i] * values[(oldest + i) % window * row_stride + d];
    }
  }
}

}  // namespace ssm::cpu::SSM_LEVEL
