// Puts together what the parts of a row found in paged_attention_decode:
//   out[b, h] = sum over parts of exp(largest[part] - largest) * sums[part]
//               / sum over parts of exp(largest[part] - largest) * total[part],
//   times sigmoid(gate) when gated
// A row that has a single part, no slot, or not all of its pages, is left alone.
// Grid: one threadgroup a head, (heads, batch), a thread a column at a time, whole simdgroups.
#include <metal_stdlib>

#include "metal/paged_attention_decode.h"
#include "metal/row_pages.h"

SSM_CONSTANT(uint, parts);  // of a row, at most

template <class T>
[[kernel]] void paged_attention_join(
    device const T* q [[buffer(0)]],            // (batch, heads, head_dim), or twice with gates
    device const uint* pages [[buffer(8)]],     // (slots, pages_per_slot)
    device const uint* position [[buffer(9)]],  // (batch)
    device const uint* rows [[buffer(10)]],     // (batch): slots
    device T* out [[buffer(11)]],               // (batch, heads, head_dim)
    constant PagedAttentionDecodeParams& p [[buffer(12)]],
    // (batch, heads, parts, head_dim + 2): sums of columns, largest score, sum of weights
    device const float* partial [[buffer(13)]], uint2 group [[threadgroup_position_in_grid]],
    uint thread_index [[thread_index_in_threadgroup]], uint threads [[threads_per_threadgroup]],
    uint lane [[thread_index_in_simdgroup]]) {
  const uint h = group.x, b = group.y, slot = rows[b];
  if (slot >= p.slots) return;  // the whole threadgroup, as below
  const uint row_page_count = position[b] / kPagePositions + 1;
  const uint used = ceil_divide(row_page_count, ceil_divide(row_page_count, parts));
  if (row_page_count > p.pages_per_slot || used == 1) return;
  device const uint* row_pages = pages + ulong(slot) * p.pages_per_slot;
  if (!pages_exist(row_pages, row_page_count, p.page_count, lane)) return;

  const uint part_size = p.head_dim + 2;
  const ulong head = ulong(b) * p.heads + h;
  device const float* of_parts = partial + head * parts * part_size;
  float largest = of_parts[p.head_dim];
  for (uint i = 1; i < used; ++i) largest = max(largest, of_parts[i * part_size + p.head_dim]);
  float total = 0.0f;
  for (uint i = 0; i < used; ++i) {
    device const float* part = of_parts + i * part_size + p.head_dim;
    total += precise::exp(part[0] - largest) * part[1];
  }
  const uint head_stride = p.gated ? 2 * p.head_dim : p.head_dim;
  device const T* gate = q + ulong(b) * p.q_stride + h * head_stride + p.head_dim;
  for (uint c = thread_index; c < p.head_dim; c += threads) {
    float sum = 0.0f;
    for (uint i = 0; i < used; ++i) {
      device const float* part = of_parts + i * part_size;
      sum += precise::exp(part[p.head_dim] - largest) * part[c];
    }
    const float factor = p.gated ? 1.0f / (1.0f + precise::exp(-float(gate[c]))) : 1.0f;
    out[head * p.head_dim + c] = T(factor * (sum / total));
  }
}

// The type of activations.
INSTANTIATE(paged_attention_join, (float32, float16));
