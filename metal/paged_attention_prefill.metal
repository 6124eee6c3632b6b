// A chunk of causal attention over all positions so far, with keys and values of the chunk in the
// pages of its sequence already: with r = position[b] + t,
//   out[b, t, h] = sum over keys j <= r of softmax(scale * q[b, t, h] . key[j]) * value[j],
//   times sigmoid(gate) when gated; head h reads key/value head h / (heads / kv_heads)
// A row of the batch that has no slot, or lacks one of these pages, does nothing.
// Grid: a threadgroup of 128 threads for 32 tokens of a query head, threadgroups (ceil(length /
// 32), heads, batch). It walks the keys that its tokens can see in blocks of 32, each in one page
// (attend_tiles.h).
// Limits: head_dim up to 256; 128 threads, 15 KB of threadgroup memory.
#include <metal_stdlib>

#include "metal/attend_tiles.h"
#include "metal/paged_attention_prefill.h"
#include "metal/row_pages.h"

template <class T, class Stored>
[[kernel]] void paged_attention_prefill(
    device const T* q [[buffer(0)]],  // (batch, length, heads, head_dim), or twice that with gates
    device const Stored* keys [[buffer(1)]],    // (page_count, 256, cols)
    device const Stored* values [[buffer(2)]],  // (page_count, 256, cols)
    device const uint* pages [[buffer(3)]],     // (slots, pages_per_slot)
    device const uint* position [[buffer(4)]],  // (batch)
    device const uint* rows [[buffer(5)]],      // (batch): slots
    device T* out [[buffer(6)]],                // (batch, length, heads, head_dim)
    constant PagedAttentionPrefillParams& p [[buffer(7)]],
    threadgroup float* left [[threadgroup(0)]],       // (32, 36): queries
    threadgroup float* right [[threadgroup(1)]],      // (32, 36): keys, then values
    threadgroup float* scores [[threadgroup(2)]],     // (32, 36)
    threadgroup float* diagonals [[threadgroup(3)]],  // (4, 8, 8)
    uint3 group [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
  const uint t0 = group.x * kTile, h = group.y, b = group.z, slot = rows[b];
  if (slot >= p.slots) return;  // the whole threadgroup, as below
  const ulong past_end = ulong(position[b]) + p.length;
  const ulong row_page_count = (past_end + kPagePositions - 1) / kPagePositions;
  if (row_page_count > p.pages_per_slot) return;
  device const uint* row_pages = pages + ulong(slot) * p.pages_per_slot;
  if (!pages_exist(row_pages, uint(row_page_count), p.page_count, lane)) return;

  const uint tokens = min(uint(kTile), p.length - t0);
  const uint cols = p.kv_heads * head_dim, column = h / (p.heads / p.kv_heads) * head_dim;
  const uint head_stride = p.gated ? 2 * head_dim : head_dim;
  device const T* queries = q + (ulong(b) * p.length + t0) * p.q_stride + h * head_stride;
  const uint oldest_end = position[b] + t0;     // the position of the first token
  const uint newest = oldest_end + tokens - 1;  // and of the last one

  Product sums[kSlices];
  Softmax softmax;
  clear_sums(sums, softmax, diagonals, thread_index);
  for (uint key0 = 0; key0 <= newest; key0 += kTile) {
    // This thread's row of keys and values.
    const uint key = key0 + row_in_tile(thread_index);
    const bool inside = key <= newest;
    const ulong page = row_pages[key0 / kPagePositions];
    const ulong at = (page * kPagePositions + key % kPagePositions) * cols + column;
    find_scores(scores, queries, p.q_stride, p.scale, tokens, keys + at, inside, left, right,
                thread_index, simdgroup);
    // The first token sees all of these keys, or those up to its own position.
    const int first_sees = int(min(oldest_end - min(oldest_end, key0), uint(kTile))) -
                           int(min(key0 - min(oldest_end, key0), uint(kTile)));
    find_weights(softmax, scores, diagonals, tokens, first_sees, 0x7fffffff, simdgroup, lane);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    add_values(sums, scores, diagonals, values + at, inside, right, thread_index, simdgroup);
  }

  device T* y = out + ((ulong(b) * p.length + t0) * p.heads + h) * head_dim;
  device const T* gate = nullptr;
  if (p.gated) gate = queries + head_dim;
  store_outputs(sums, softmax, y, ulong(p.heads) * head_dim, gate, p.q_stride, tokens, left,
                diagonals, thread_index, simdgroup, lane);
}

// The type of activations, and that of pages.
INSTANTIATE(paged_attention_prefill, (float32, float16), (float32, float16));
