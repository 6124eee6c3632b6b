// Puts the keys and values of a chunk into the rings of slot rows[b], the token at absolute
// position q into row q mod window; of a chunk longer than the window only the last `window`
// tokens:
//   keys[rows[b], (position[b] + t) mod window] = k[b, t], and the same for values and v
// A row of the batch that has no slot does nothing.
// Grid: one thread a column of kv_heads * head_dim, threadgroups (ceil(columns / threads),
// min(length, window), batch), any number of threads.
// Limits: no slot twice.
#include <metal_stdlib>

#include "metal/common.h"
#include "metal/kv_cache_write.h"

template <class T>
[[kernel]] void kv_cache_write(device const T* k
                               [[buffer(0)]],  // (batch, length, kv_heads, head_dim)
                               device const T* v
                               [[buffer(1)]],                 // (batch, length, kv_heads, head_dim)
                               device T* keys [[buffer(2)]],  // (slots, window, kv_heads, head_dim)
                               device T* values
                               [[buffer(3)]],  // (slots, window, kv_heads, head_dim)
                               device const uint* position [[buffer(4)]],  // (batch)
                               device const uint* rows [[buffer(5)]],      // (batch): slots
                               constant KvCacheWriteParams& p [[buffer(6)]],
                               uint3 thread_position [[thread_position_in_grid]]) {
  const uint column = thread_position.x, b = thread_position.z;
  const uint columns = p.kv_heads * p.head_dim;
  const uint slot = rows[b];
  if (column >= columns || slot >= p.slots) return;
  const uint t = p.length - min(p.length, p.window) + thread_position.y;
  const ulong token = ulong(b) * p.length + t;
  const ulong row = ulong(slot) * p.window + (ulong(position[b]) + t) % p.window;
  keys[row * columns + column] = k[token * p.k_stride + column];
  values[row * columns + column] = v[token * p.v_stride + column];
}

INSTANTIATE(kv_cache_write, (float32, float16));
