// A chunk of the causal depthwise convolution with bias and SiLU, continuing from the ring:
//   input[t]     = x[b, t, c], gated: x[b, t, c] * input_gate[b, t, c]
//   sum          = bias[c] + sum over k of weight[c, k] * input[t - width + 1 + k]
//   out[b, t, c] = silu(sum), without activation: sum; gated: * output_gate[b, t, c]
// where inputs before the chunk lie in the ring of slot rows[b], the one of absolute position q in
// row q mod width. A row that has no slot does nothing.
//
// Grid: one thread a channel and a run of kConvTokens tokens, threadgroups (ceil(channels /
// threads), ceil(length / kConvTokens), batch), any number of threads. With few taps, as every
// published model has, the thread slides its inputs along in registers and reads each once; wider
// convolutions read every tap from memory. With fma in a fixed order, so that conv1d_update and
// every division into chunks give the very same numbers. conv1d_prefill_state puts the inputs into
// the ring afterwards. Limits: width and length below 2^31.
#include <metal_stdlib>

#include "metal/common.h"
#include "metal/conv1d_inputs.h"
#include "metal/conv1d_shape.h"

SSM_CONSTANT(bool, has_bias);
SSM_CONSTANT(uint, taps);  // of the convolution, if they are few; else 0
SSM_CONSTANT(bool, with_silu);

// The input of one channel at position `from` of the chunk: before it when negative.
template <class T>
inline float input_at(Inputs<T> inputs, device const T* ring, int from, uint first,
                      constant Conv1dPrefillParams& p) {
  if (from >= 0) return float(input_of(inputs, ulong(from)));
  const ulong row = (ulong(first) + ulong(p.width) - ulong(-from)) % p.width;  // -from < width
  return float(ring[row * p.channels]);
}

template <class T>
[[kernel]] void conv1d_prefill(
    device const T* x [[buffer(0)]],                     // (batch, length, channels)
    device const float* weight [[buffer(1)]],            // (channels, width)
    SSM_OPTIONAL(has_bias, 2, device const float* bias)  // (channels)
    SSM_OPTIONAL(gated, 3, device const T* input_gate)   // (batch, length, channels)
    SSM_OPTIONAL(gated, 4, device const T* output_gate)  // (batch, length, channels)
    device const T* state [[buffer(5)]],                 // (slots, width, channels)
    device const uint* position [[buffer(6)]],           // (batch)
    device const uint* rows [[buffer(7)]],               // (batch): slots
    device T* out [[buffer(8)]],                         // (batch, length, channels)
    constant Conv1dPrefillParams& p [[buffer(9)]],
    uint3 thread_position [[thread_position_in_grid]]) {
  SSM_ABSENT(has_bias, device const float* bias);
  SSM_ABSENT(gated, device const T* input_gate);
  SSM_ABSENT(gated, device const T* output_gate);
  const uint c = thread_position.x, b = thread_position.z;
  const uint slot = rows[b];
  if (c >= p.channels || slot >= p.slots) return;
  const int begin = int(thread_position.y * kConvTokens);
  const int end = min(begin + int(kConvTokens), int(p.length));
  const uint first = position[b];
  const Inputs<T> inputs = inputs_of(x, input_gate, b, c, p);
  device const T* factors = output_gate;  // of the results
  if (gated) factors += ulong(b) * p.length * p.output_gate_stride + c;
  device const T* ring = state + ulong(slot) * p.width * p.channels + c;
  device const float* w = weight + ulong(c) * p.width;
  device T* y = out + ulong(b) * p.length * p.channels + c;
  const float start = has_bias ? bias[c] : 0.0f;

  float known_weight[kMostTaps], known_input[kMostTaps];
  UNROLL for (uint k = 0; k < taps; ++k) {
    known_weight[k] = w[k];
    if (k > 0) known_input[k] = input_at(inputs, ring, begin - int(taps) + int(k), first, p);
  }
  for (int t = begin; t < end; ++t) {
    float sum = start;
    if (taps != 0) {
      UNROLL for (uint k = 0; k + 1 < taps; ++k) {
        known_input[k] = known_input[k + 1];
        sum = fma(known_weight[k], known_input[k], sum);
      }
      known_input[taps - 1] = float(input_of(inputs, ulong(t)));
      sum = fma(known_weight[taps - 1], known_input[taps - 1], sum);
    } else {
      for (uint k = 0; k < p.width; ++k) {
        sum = fma(w[k], input_at(inputs, ring, t - int(p.width) + 1 + int(k), first, p), sum);
      }
    }
    float result = with_silu ? silu(sum) : sum;
    if (gated) result *= float(factors[ulong(t) * p.output_gate_stride]);
    y[ulong(t) * p.channels] = T(result);
  }
}

INSTANTIATE(conv1d_prefill, (float32, float16));
