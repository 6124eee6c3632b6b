// One token of the causal depthwise convolution with bias and SiLU; the ring is updated in place:
//   out[b, c] = silu(bias[c] + sum over k of weight[c, k] * input[b, c] of width - 1 - k tokens
//   ago) state[b, position[b] mod width, c] = x[b, c]
// Grid: one thread a channel, threadgroups (ceil(channels / threads), batch), any number of
// threads. A thread reads and writes its own channel alone, so nothing has to wait; neighbours take
// neighbouring channels, so the rows of the ring are read in whole cache lines.
// With fma in a fixed order (conv1d.h), so that conv1d_prefill gives the very same numbers.
// Limits: width below 2^31.
#include <metal_stdlib>

#include "conv1d.h"
#include "conv1d_update.h"

SSM_CONSTANT(bool, has_bias);

template <class T>
[[kernel]] void conv1d_update(device const T* x [[buffer(0)]],           // (batch, channels)
                              device const float* weight [[buffer(1)]],  // (channels, width)
                              SSM_OPTIONAL(has_bias, 2, device const float* bias)  // (channels)
                              device T* state [[buffer(3)]],  // (batch, width, channels)
                              device const uint* position [[buffer(4)]],  // (batch)
                              device T* out [[buffer(5)]],                // (batch, channels)
                              constant Conv1dUpdateParams& p [[buffer(6)]],
                              uint2 thread_position [[thread_position_in_grid]]) {
  SSM_ABSENT(has_bias, device const float* bias);
  const uint c = thread_position.x, b = thread_position.y;
  if (c >= p.channels) return;
  const uint width = taps != 0 ? taps : p.width;
  const uint slot = position[b] % width;
  device T* ring = state + ulong(b) * width * p.channels + c;
  const T newest = x[ulong(b) * p.x_stride + c];
  const float result = convolve(ring, float(newest), weight + ulong(c) * width,
                                has_bias ? bias[c] : 0.0f, slot, width, p.channels);
  ring[ulong(slot) * p.channels] = newest;
  out[ulong(b) * p.channels + c] = T(result);
}

INSTANTIATE(conv1d_update, (float32, float16));
