// A chunk of causal sliding-window attention. With keys and values of this chunk in k and v,
// earlier ones in the rings of slot rows[b] (absolute position q in row q mod window), and
// r = position[b] + t:
//   out[b, t, h] = sum over keys j of softmax(scale * q[b, t, h] . key[j]) * value[j],
//   j from max(0, r - window + 1) to r; head h reads key/value head h / (heads / kv_heads)
// A row of the batch that has no slot does nothing.
// Grid: a threadgroup of 128 threads for 32 tokens of a query head, threadgroups (ceil(length /
// 32), heads, batch). It walks the keys that its tokens can see in blocks of 32 and touches no
// others; what one of its tokens may not see is left out by comparing positions, there is no mask
// tensor (attend_tiles.h).
// The rings are only read: kv_cache_write follows.
// Limits: head_dim up to 256; window and length below 2^31; 128 threads, 15 KB of threadgroup
// memory.
#include <metal_stdlib>

#include "metal/attend_tiles.h"
#include "metal/attention_prefill.h"

// Where the keys and values of a query head are: those of the chunk, and the ring before them.
template <class T>
struct Sources {
  device const T* k;       // token 0 of the chunk
  device const T* v;       // the same
  device const T* keys;    // the ring of the slot
  device const T* values;  // the same
  uint first;              // position of token 0
};

// The row of a key and of its value.
template <class T>
struct KeyRow {
  device const T* key;
  device const T* value;
};

// Of a key by its place relative to the chunk: those before it are negative.
template <class T>
ALWAYS_INLINE KeyRow<T> key_row(Sources<T> from, int key, constant AttentionPrefillParams& p) {
  KeyRow<T> row;
  if (key >= 0) {
    row.key = from.k + ulong(uint(key)) * p.k_stride;
    row.value = from.v + ulong(uint(key)) * p.v_stride;
  } else {
    const ulong at = (ulong(from.first) - ulong(-key)) % p.window * (p.kv_heads * head_dim);
    row.key = from.keys + at;
    row.value = from.values + at;
  }
  return row;
}

template <class T>
[[kernel]] void attention_prefill(
    device const T* q [[buffer(0)]],            // (batch, length, heads, head_dim)
    device const T* k [[buffer(1)]],            // (batch, length, kv_heads, head_dim)
    device const T* v [[buffer(2)]],            // (batch, length, kv_heads, head_dim)
    device const T* keys [[buffer(3)]],         // (slots, window, kv_heads, head_dim)
    device const T* values [[buffer(4)]],       // (slots, window, kv_heads, head_dim)
    device const uint* position [[buffer(5)]],  // (batch)
    device const uint* rows [[buffer(6)]],      // (batch): slots
    device T* out [[buffer(7)]],                // (batch, length, heads, head_dim)
    constant AttentionPrefillParams& p [[buffer(8)]],
    threadgroup float* left [[threadgroup(0)]],       // (32, 36): queries
    threadgroup float* right [[threadgroup(1)]],      // (32, 36): keys, then values
    threadgroup float* scores [[threadgroup(2)]],     // (32, 36)
    threadgroup float* diagonals [[threadgroup(3)]],  // (4, 8, 8)
    uint3 group [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
  const uint t0 = group.x * kTile, h = group.y, b = group.z, slot = rows[b];
  if (slot >= p.slots) return;  // the whole threadgroup
  const uint tokens = min(uint(kTile), p.length - t0);
  const uint column = h / (p.heads / p.kv_heads) * head_dim;
  const ulong token = ulong(b) * p.length, ring = ulong(slot) * p.window * p.kv_heads * head_dim;
  device const T* queries = q + (ulong(b) * p.length + t0) * p.q_stride + h * head_dim;

  const uint first = position[b];
  const Sources<T> from = {k + token * p.k_stride + column, v + token * p.v_stride + column,
                           keys + ring + column, values + ring + column, first};
  const int oldest = max(int(t0) + 1 - int(p.window), -int(min(first, p.window)));
  const int newest = int(t0 + tokens) - 1;

  Product sums[kSlices];
  Softmax softmax;
  clear_sums(sums, softmax, diagonals, thread_index);

  for (int key0 = oldest; key0 <= newest; key0 += int(kTile)) {
    // This thread's row of keys and values.
    const int key = key0 + int(row_in_tile(thread_index));
    const bool inside = key <= newest;
    const KeyRow<T> row = key_row(from, inside ? key : 0, p);
    find_scores(scores, queries, p.q_stride, p.scale, tokens, row.key, inside, left, right,
                thread_index, simdgroup);
    find_weights(softmax, scores, diagonals, tokens, int(t0) - key0, int(p.window), simdgroup,
                 lane);
    threadgroup_barrier(mem_flags::mem_threadgroup);

    add_values(sums, scores, diagonals, row.value, inside, right, thread_index, simdgroup);
  }

  device T* y = out + ((ulong(b) * p.length + t0) * p.heads + h) * head_dim;
  device const T* no_gate = nullptr;
  store_outputs(sums, softmax, y, p.heads * head_dim, no_gate, 0, tokens, left, diagonals,
                thread_index, simdgroup, lane);
}

INSTANTIATE(attention_prefill, (float32, float16));
