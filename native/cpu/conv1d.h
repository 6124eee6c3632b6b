// The causal depthwise convolution that conv1d_update and conv1d_prefill share.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "activations.h"

namespace ssm::cpu {

// The conv state is a ring of `width` rows of channels: the input at absolute position q lies in
// row q mod width. Rows that no token has written yet are zero, which is the padding on the left.
inline size_t ring_row(int64_t position, uint32_t width) {
  const int64_t row = position % static_cast<int64_t>(width);
  return static_cast<size_t>(row < 0 ? row + width : row);
}

// out[c] = silu(bias[c] + sum over k of w[c, k] * taps[k][c]), k from the oldest input to the
// newest.
inline void conv1d_row(const float* const* taps, const float* w, const float* bias, float* out,
                       size_t channels, uint32_t width) {
  for (size_t c = 0; c < channels; ++c) {
    float sum = bias ? bias[c] : 0.0f;
    for (uint32_t k = 0; k < width; ++k) sum += w[c * width + k] * taps[k][c];
    out[c] = silu(sum);
  }
}

// One token: x (channels) enters the ring of one sequence, out (channels) is its convolution.
inline void conv1d_step(const float* x, uint32_t position, const float* w, const float* bias,
                        float* ring, float* out, size_t channels, uint32_t width) {
  const int64_t now = position;
  std::copy_n(x, channels, ring + ring_row(now, width) * channels);
  std::vector<const float*> taps(width);
  for (uint32_t k = 0; k < width; ++k) {
    taps[k] = ring + ring_row(now - width + 1 + k, width) * channels;
  }
  conv1d_row(taps.data(), w, bias, out, channels, width);
}

}  // namespace ssm::cpu
