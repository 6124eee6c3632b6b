// A chunk of the causal depthwise convolution with bias and SiLU, continuing from the ring:
//   out[b, t, c] = silu(bias[c] + sum over k of weight[c, k] * input[b, t - width + 1 + k, c])
// where inputs before the chunk lie in the ring of slot rows[b], the one of absolute position q in
// row q mod width. A row that has no slot does nothing.
//
// Grid: one thread a channel and a run of kConvTokens tokens, threadgroups (ceil(channels /
// threads), ceil(length / kConvTokens), batch), any number of threads. With four taps, as every
// published model has, the thread slides them along in registers and reads each input once; other
// widths read every tap from memory. With fma in a fixed order, so that conv1d_update and every
// division into chunks give the very same numbers. conv1d_prefill_state puts the inputs into the
// ring afterwards. Limits: width and length below 2^31.
#include <metal_stdlib>

#include "metal/common.h"
#include "metal/conv1d_prefill.h"

SSM_CONSTANT(bool, has_bias);
SSM_CONSTANT(bool, four_taps);  // width is 4

// The input of one channel at position `from` of the chunk: before it when negative.
template <class T>
inline float input_at(device const T* x, device const T* ring, int from, uint first,
                      constant Conv1dPrefillParams& p) {
  if (from >= 0) return float(x[ulong(from) * p.x_stride]);
  const ulong row = (ulong(first) + ulong(p.width) - ulong(-from)) % p.width;  // -from < width
  return float(ring[row * p.channels]);
}

template <class T>
[[kernel]] void conv1d_prefill(device const T* x [[buffer(0)]],  // (batch, length, channels)
                               device const float* weight [[buffer(1)]],  // (channels, width)
                               SSM_OPTIONAL(has_bias, 2, device const float* bias)  // (channels)
                               device const T* state [[buffer(3)]],  // (slots, width, channels)
                               device const uint* position [[buffer(4)]],  // (batch)
                               device const uint* rows [[buffer(5)]],      // (batch): slots
                               device T* out [[buffer(6)]],  // (batch, length, channels)
                               constant Conv1dPrefillParams& p [[buffer(7)]],
                               uint3 thread_position [[thread_position_in_grid]]) {
  SSM_ABSENT(has_bias, device const float* bias);
  const uint c = thread_position.x, b = thread_position.z;
  const uint slot = rows[b];
  if (c >= p.channels || slot >= p.slots) return;
  const int begin = int(thread_position.y * kConvTokens);
  const int end = min(begin + int(kConvTokens), int(p.length));
  const uint first = position[b];
  device const T* xs = x + ulong(b) * p.length * p.x_stride + c;
  device const T* ring = state + ulong(slot) * p.width * p.channels + c;
  device const float* w = weight + ulong(c) * p.width;
  device T* y = out + ulong(b) * p.length * p.channels + c;
  const float start = has_bias ? bias[c] : 0.0f;

  if (four_taps) {
    const float4 taps = float4(w[0], w[1], w[2], w[3]);
    float4 inputs =
        float4(0.0f, input_at(xs, ring, begin - 3, first, p),
               input_at(xs, ring, begin - 2, first, p), input_at(xs, ring, begin - 1, first, p));
    for (int t = begin; t < end; ++t) {
      inputs = float4(inputs.y, inputs.z, inputs.w, float(xs[ulong(t) * p.x_stride]));
      float sum = fma(taps.x, inputs.x, start);
      sum = fma(taps.y, inputs.y, sum);
      sum = fma(taps.z, inputs.z, sum);
      sum = fma(taps.w, inputs.w, sum);
      y[ulong(t) * p.channels] = T(silu(sum));
    }
  } else {
    for (int t = begin; t < end; ++t) {
      float sum = start;
      for (uint k = 0; k < p.width; ++k) {
        sum = fma(w[k], input_at(xs, ring, t - int(p.width) + 1 + int(k), first, p), sum);
      }
      y[ulong(t) * p.channels] = T(silu(sum));
    }
  }
}

INSTANTIATE(conv1d_prefill, (float32, float16));
