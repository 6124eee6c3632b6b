// The states before each chunk of ssd_chunk_scan.metal, from what each chunk adds, one after the
// other; and the state that the last chunk leaves in slot rows[b]. A row that has no slot does
// nothing.
//
// Grid: one thread an element of the state of a sequence, threadgroups (ceil(heads * head_dim *
// d_state / threads), batch), any number of threads. Limits: no slot twice.
#include <metal_stdlib>

#include "metal/common.h"
#include "metal/ssd_chunk_scan.h"

[[kernel]] void ssd_chunk_pass(device float* state
                               [[buffer(7)]],  // (slots, heads, head_dim, d_state)
                               device const uint* rows [[buffer(8)]],  // (batch): slots
                               constant SsdChunkScanParams& p [[buffer(10)]],
                               device float* states
                               [[buffer(12)]],  // (batch, chunks, heads, head_dim, d_state)
                               device const float* decay [[buffer(13)]],  // (batch, chunks, heads)
                               uint2 thread_position [[thread_position_in_grid]]) {
  const uint i = thread_position.x, b = thread_position.y;
  const uint elements = p.heads * p.head_dim * p.d_state;
  const uint slot = rows[b];
  if (i >= elements || slot >= p.slots) return;
  const uint h = i / (p.head_dim * p.d_state);
  const uint chunks = (p.length + p.chunk_size - 1) / p.chunk_size;
  float S = state[ulong(slot) * elements + i];
  for (uint chunk = 0; chunk < chunks; ++chunk) {
    const ulong at = ulong(b) * chunks + chunk;
    const float added = states[at * elements + i];
    states[at * elements + i] = S;
    S = decay[at * p.heads + h] * S + added;
  }
  state[ulong(slot) * elements + i] = S;
}
