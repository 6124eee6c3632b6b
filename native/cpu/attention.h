// Softmax attention of one query over a list of keys, which both attention operations share.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "dot.h"

namespace ssm::cpu {

// out = sum over j of softmax(scale * q . key(j)) * value(j), j from 0 to count - 1 (the oldest key
// first). `scores` has room for count numbers.
template <class KeyAt, class ValueAt>
void attend(const float* q, KeyAt key, ValueAt value, size_t count, size_t head_dim, float scale,
            float* scores, float* out) {
  float largest = -INFINITY;
  for (size_t j = 0; j < count; ++j) {
    scores[j] = scale * dot(q, key(j), head_dim);
    largest = std::max(largest, scores[j]);
  }
  float sum = 0;
  for (size_t j = 0; j < count; ++j) {
    scores[j] = std::exp(scores[j] - largest);
    sum += scores[j];
  }
  std::fill_n(out, head_dim, 0.0f);
  for (size_t j = 0; j < count; ++j) {
    const float weight = scores[j] / sum;
    const float* v = value(j);
    for (size_t d = 0; d < head_dim; ++d) out[d] += weight * v[d];
  }
}

}  // namespace ssm::cpu
