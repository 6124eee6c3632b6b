// Puts keys and values of a step or of a chunk into the pages of their sequences: the token at
// absolute position t = position[b] + i of row b goes to row t mod 256 of page
// pages[rows[b], t / 256]. A row of the batch that has no slot, and a token that has no page, is
// not written.
// Grid: one thread a column, threadgroups (ceil(cols / threads), length, batch), any number of
// threads.
#include <metal_stdlib>

#include "metal/common.h"
#include "metal/kv_pages_write.h"
#include "metal/pages.h"

template <class T, class Stored>
[[kernel]] void kv_pages_write(device const T* k [[buffer(0)]],         // (batch, length, cols)
                               device const T* v [[buffer(1)]],         // (batch, length, cols)
                               device Stored* keys [[buffer(2)]],       // (page_count, 256, cols)
                               device Stored* values [[buffer(3)]],     // (page_count, 256, cols)
                               device const uint* pages [[buffer(4)]],  // (slots, pages_per_slot)
                               device const uint* position [[buffer(5)]],  // (batch)
                               device const uint* rows [[buffer(6)]],      // (batch): slots
                               constant KvPagesWriteParams& p [[buffer(7)]],
                               uint3 thread_position [[thread_position_in_grid]]) {
  const uint column = thread_position.x, i = thread_position.y, b = thread_position.z;
  const uint slot = rows[b];
  if (column >= p.cols || slot >= p.slots) return;
  const ulong t = ulong(position[b]) + i;
  if (t / kPagePositions >= p.pages_per_slot) return;
  const uint page = pages[ulong(slot) * p.pages_per_slot + t / kPagePositions];
  if (page >= p.page_count) return;
  const ulong token = ulong(b) * p.length + i;
  const ulong to = (ulong(page) * kPagePositions + t % kPagePositions) * p.cols + column;
  keys[to] = Stored(float(k[token * p.k_stride + column]));
  values[to] = Stored(float(v[token * p.v_stride + column]));
}

// The type of k and v, and that of pages.
INSTANTIATE(kv_pages_write, (float32, float16), (float32, float16));
