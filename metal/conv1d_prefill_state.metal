// The last inputs of a chunk enter the ring of conv1d_prefill, that of slot rows[b], absolute
// position q in row q mod width. A row that has no slot does nothing. A dispatch of its own,
// because the first tokens of the chunk read what it overwrites.
//
// Grid: one thread a channel, threadgroups (ceil(channels / threads), min(length, width), batch),
// any number of threads. Limits: width and length below 2^31; no slot twice.
#include <metal_stdlib>

#include "metal/common.h"
#include "metal/conv1d_prefill.h"

template <class T>
[[kernel]] void conv1d_prefill_state(device const T* x [[buffer(0)]],  // (batch, length, channels)
                                     device T* state [[buffer(3)]],    // (slots, width, channels)
                                     device const uint* position [[buffer(4)]],  // (batch)
                                     device const uint* rows [[buffer(5)]],      // (batch): slots
                                     constant Conv1dPrefillParams& p [[buffer(7)]],
                                     uint3 thread_position [[thread_position_in_grid]]) {
  const uint c = thread_position.x, b = thread_position.z;
  const uint slot = rows[b];
  if (c >= p.channels || slot >= p.slots) return;
  const uint t = p.length - min(p.length, p.width) + thread_position.y;
  const ulong row = (ulong(position[b]) + t) % p.width;
  const ulong token = ulong(b) * p.length + t;
  state[(ulong(slot) * p.width + row) * p.channels + c] = x[token * p.x_stride + c];
}

INSTANTIATE(conv1d_prefill_state, (float32, float16));
