// One token of the causal depthwise convolution, which conv1d_update and mamba2_update share.
#pragma once
#include "common.h"

// silu(start + sum over k of w[k] * input of width - 1 - k tokens ago), with fma in a fixed order,
// the oldest input first. `ring` (width, channels) points at the channel; `slot` is the row that
// the newest input will take and is not read.
template <class T>
inline float convolve(device const T* ring, float newest, device const float* w, float start,
                      uint slot, uint width, uint channels) {
  float sum = start;
  for (uint k = 0; k + 1 < width; ++k) {
    const uint row = slot + 1 + k < width ? slot + 1 + k : slot + 1 + k - width;
    sum = fma(w[k], float(ring[ulong(row) * channels]), sum);
  }
  return silu(fma(w[width - 1], newest, sum));
}
