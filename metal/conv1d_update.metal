// One token of the causal depthwise convolution with bias and SiLU; the ring of the row's slot is
// updated in place:
//   input     = x[b, c], gated: x[b, c] * input_gate[b, c]
//   sum       = bias[c] + sum over k of weight[c, k] * input of width - 1 - k tokens ago
//   out[b, c] = silu(sum), without activation: sum; gated: * output_gate[b, c]
//   state[rows[b], position[b] mod width, c] = input
// A row that has no slot does nothing.
// Grid: one thread a channel, threadgroups (ceil(channels / threads), batch), any number of
// threads. A thread reads and writes its own channel alone, so nothing has to wait; neighbours take
// neighbouring channels, so the rows of the ring are read in whole cache lines.
// With fma in a fixed order (conv1d.h), so that conv1d_prefill gives the very same numbers.
// Limits: width below 2^31; no slot twice.
#include <metal_stdlib>

#include "metal/conv1d.h"
#include "metal/conv1d_update.h"

SSM_CONSTANT(bool, has_bias);
SSM_CONSTANT(bool, gated);

template <class T>
[[kernel]] void conv1d_update(device const T* x [[buffer(0)]],           // (batch, channels)
                              device const float* weight [[buffer(1)]],  // (channels, width)
                              SSM_OPTIONAL(has_bias, 2, device const float* bias)  // (channels)
                              SSM_OPTIONAL(gated, 3,
                                           device const T* input_gate)  // (batch, channels)
                              SSM_OPTIONAL(gated, 4,
                                           device const T* output_gate)  // (batch, channels)
                              device T* state [[buffer(5)]],             // (slots, width, channels)
                              device const uint* position [[buffer(6)]],  // (batch)
                              device const uint* rows [[buffer(7)]],      // (batch): slots
                              device T* out [[buffer(8)]],                // (batch, channels)
                              constant Conv1dUpdateParams& p [[buffer(9)]],
                              uint2 thread_position [[thread_position_in_grid]]) {
  SSM_ABSENT(has_bias, device const float* bias);
  SSM_ABSENT(gated, device const T* input_gate);
  SSM_ABSENT(gated, device const T* output_gate);
  const uint c = thread_position.x, b = thread_position.y;
  const uint slot = rows[b];
  if (c >= p.channels || slot >= p.slots) return;
  const uint width = taps != 0 ? taps : p.width;
  const uint newest_row = position[b] % width;
  device T* ring = state + ulong(slot) * width * p.channels + c;
  T newest = x[ulong(b) * p.x_stride + c];
  if (gated) newest = T(float(newest) * float(input_gate[ulong(b) * p.input_gate_stride + c]));
  float result = convolve(ring, float(newest), weight + ulong(c) * width, has_bias ? bias[c] : 0.0f,
                          newest_row, width, p.channels);
  if (gated) result *= float(output_gate[ulong(b) * p.output_gate_stride + c]);
  ring[ulong(newest_row) * p.channels] = newest;
  out[ulong(b) * p.channels + c] = T(result);
}

INSTANTIATE(conv1d_update, (float32, float16));
