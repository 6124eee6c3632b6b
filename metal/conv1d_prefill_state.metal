// The last inputs of a chunk enter the ring of conv1d_prefill, that of slot rows[b], absolute
// position q in row q mod width. A row that has no slot does nothing. A dispatch of its own,
// because the first tokens of the chunk read what it overwrites.
//
// Grid: one thread a channel, threadgroups (ceil(channels / threads), min(length, width), batch),
// any number of threads. Limits: width and length below 2^31; no slot twice.
#include <metal_stdlib>

#include "metal/conv1d_inputs.h"

template <class T>
[[kernel]] void conv1d_prefill_state(
    device const T* x [[buffer(0)]],                    // (batch, length, channels)
    SSM_OPTIONAL(gated, 3, device const T* input_gate)  // (batch, length, channels)
    device T* state [[buffer(5)]],                      // (slots, width, channels)
    device const uint* position [[buffer(6)]],          // (batch)
    device const uint* rows [[buffer(7)]],              // (batch): slots
    constant Conv1dPrefillParams& p [[buffer(9)]],
    uint3 thread_position [[thread_position_in_grid]]) {
  SSM_ABSENT(gated, device const T* input_gate);
  const uint c = thread_position.x, b = thread_position.z;
  const uint slot = rows[b];
  if (c >= p.channels || slot >= p.slots) return;
  const uint t = p.length - min(p.length, p.width) + thread_position.y;
  const ulong row = (ulong(position[b]) + t) % p.width;
  const Inputs<T> inputs = inputs_of(x, input_gate, b, c, p);
  state[(ulong(slot) * p.width + row) * p.channels + c] = input_of(inputs, t);
}

INSTANTIATE(conv1d_prefill_state, (float32, float16));
