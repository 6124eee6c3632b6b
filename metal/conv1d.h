// One token of the causal depthwise convolution, which conv1d_update and mamba2_update share.
#pragma once
#include "metal/common.h"
#include "metal/conv1d_shape.h"

// Taps of the convolution, if they are few, so that their reads wait for one another no more; else
// 0.
SSM_CONSTANT(uint, taps);
SSM_CONSTANT(bool, with_silu);  // else the sum as it is

// silu, if with_silu, of start + sum over k of w[k] * input of width - 1 - k tokens ago, with fma
// in a fixed order, the oldest input first. `ring` (width, channels) points at the channel;
// `newest_row` is the row that the newest input will take and is not read.
template <class T>
inline float convolve(device const T* ring, float newest, device const float* w, float start,
                      uint newest_row, uint width, uint channels) {
  float sum = start;
  if (taps != 0) {
    float weight[kMostTaps], input[kMostTaps];
    UNROLL for (uint k = 0; k < taps; ++k) weight[k] = w[k];
    UNROLL for (uint k = 0; k + 1 < taps; ++k) {
      const uint next = newest_row + 1 + k, row = next < taps ? next : next - taps;
      input[k] = float(ring[ulong(row) * channels]);
    }
    UNROLL for (uint k = 0; k + 1 < taps; ++k) sum = fma(weight[k], input[k], sum);
    sum = fma(weight[taps - 1], newest, sum);
    return with_silu ? silu(sum) : sum;
  }
  for (uint k = 0; k + 1 < width; ++k) {
    const uint next = newest_row + 1 + k, row = next < width ? next : next - width;
    sum = fma(w[k], float(ring[ulong(row) * channels]), sum);
  }
  sum = fma(w[width - 1], newest, sum);
  return with_silu ? silu(sum) : sum;
}
