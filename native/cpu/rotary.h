// Norm and rotary position embedding of one head, which rotary and paged_attention_decode share.
#pragma once

#include <cmath>
#include <cstddef>

#include "native/cpu/dot.h"

namespace ssm::cpu {

// What turns the heads of a token.
struct Rotary {
  size_t dim;  // columns that turn, from the first on: even; 0: none
  bool interleaved;
  const float* frequencies;  // (dim / 2): radians a position
  float factor;              // of sine and cosine
};

// (dim / 2) cosines, then as many sines, of a token's angles. An angle is the product in float32,
// as transformers and mamba_ssm compute it.
inline void find_turns(const Rotary& rotary, size_t position, float* turns) {
  const size_t pairs = rotary.dim / 2;
  for (size_t i = 0; i < pairs; ++i) {
    const float angle = static_cast<float>(position) * rotary.frequencies[i];
    turns[i] = rotary.factor * std::cos(angle);
    turns[pairs + i] = rotary.factor * std::sin(angle);
  }
}

// out = x / rms(x) * weight over a head; x when there is no weight. `out` may be x.
inline void norm_head(const float* x, const float* weight, float eps, size_t head_dim, float* out) {
  float scale = 1.0f;
  if (weight != nullptr) {
    scale = 1.0f / std::sqrt(dot(x, x, head_dim) / static_cast<float>(head_dim) + eps);
  }
  for (size_t d = 0; d < head_dim; ++d) {
    out[d] = weight == nullptr ? x[d] : x[d] * scale * weight[d];
  }
}

// Turns the first columns of a head, in place: pair (a, b) becomes (a cos - b sin, b cos + a sin).
inline void turn_head(const Rotary& rotary, const float* turns, float* head) {
  const size_t pairs = rotary.dim / 2;
  const size_t step = rotary.interleaved ? 2 : 1, apart = rotary.interleaved ? 1 : pairs;
  for (size_t i = 0; i < pairs; ++i) {
    const float a = head[step * i], b = head[step * i + apart];
    head[step * i] = a * turns[i] - b * turns[pairs + i];
    head[step * i + apart] = b * turns[i] + a * turns[pairs + i];
  }
}

}  // namespace ssm::cpu
