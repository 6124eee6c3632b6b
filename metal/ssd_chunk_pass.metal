// The states before each chunk of ssd_chunk_scan.metal, from what each chunk adds, one after the
// other; and the state that the last chunk leaves.
//
// Grid: one thread an element of the state of a sequence, threadgroups (ceil(heads * head_dim *
// d_state / threads), batch), any number of threads.
#include <metal_stdlib>

#include "common.h"
#include "ssd_chunk_scan.h"

[[kernel]] void ssd_chunk_pass(device float* state
                               [[buffer(7)]],  // (batch, heads, head_dim, d_state)
                               constant SsdChunkScanParams& p [[buffer(9)]],
                               device float* states
                               [[buffer(11)]],  // (batch, chunks, heads, head_dim, d_state)
                               device const float* decay [[buffer(12)]],  // (batch, chunks, heads)
                               uint2 thread_position [[thread_position_in_grid]]) {
  const uint i = thread_position.x, b = thread_position.y;
  const uint elements = p.heads * p.head_dim * p.d_state;
  if (i >= elements) return;
  const uint h = i / (p.head_dim * p.d_state);
  const uint chunks = (p.length + p.chunk_size - 1) / p.chunk_size;
  float S = state[ulong(b) * elements + i];
  for (uint chunk = 0; chunk < chunks; ++chunk) {
    const ulong at = ulong(b) * chunks + chunk;
    const float added = states[at * elements + i];
    states[at * elements + i] = S;
    S = decay[at * p.heads + h] * S + added;
  }
  state[ulong(b) * elements + i] = S;
}
