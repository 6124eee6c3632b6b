// One token of causal attention over all positions so far, in pages:
//   q, k = turn(norm(q)), turn(norm(k))                as rotary.metal, each of them only when
//   given k, v enter row position[b] of the sequence: row position[b] mod 256 of its page
//   position[b] / 256 out[b, h] = sum over keys j <= position[b] of softmax(scale * q[b, h] .
//   key[j]) * value[j]; head h reads key/value head h / (heads / kv_heads) out *= sigmoid(gate)
//   when gated
// A row of the batch that has no slot, or lacks one of these pages, does nothing.
//
// Grid: a threadgroup for up to kDecodeHeads query heads of a key/value head and a part of the
// keys, threadgroups (parts * blocks of query heads, kv_heads, batch). A part is as many whole
// pages as make `parts` parts at most: which keys are whose depends on the row's own position
// alone. Its simdgroups take blocks of 32 keys in turn (attend_keys.h), each of one page. A row
// with a single part writes its result; one with several leaves what each part found in `partial`,
// for paged_attention_join. Every threadgroup norms and turns its queries and the new key by
// itself, which is little beside a page of keys, and saves a dispatch and a barrier. The new key
// and value are rounded as pages hold them, and taken from threadgroup memory: the row that the
// last part of the first block of heads writes meanwhile, nobody reads. Limits: no slot twice, and
// no page that is written in two tables; head_dim up to 256; threadgroup memory of kDecodeHeads + 2
// heads, and head_dim + 3 floats a simdgroup, at most 32 of them.
#include <metal_stdlib>

#include "metal/attend_keys.h"
#include "metal/paged_attention_decode.h"
#include "metal/row_pages.h"
#include "metal/turn.h"

SSM_CONSTANT(bool, normed);
SSM_CONSTANT(bool, turned);
SSM_CONSTANT(uint, parts);    // of a row, at most
SSM_CONSTANT(bool, divided);  // parts is above 1

// Keys or values of one key/value head, in one page.
template <class Stored>
struct Page {
  device const Stored* rows;
  uint first;  // the position of row 0
  uint cols;   // from row to row
};

template <class Stored>
ALWAYS_INLINE Columns load_key(Page<Stored> from, uint key, uint first) {
  return load_columns(from.rows + ulong(key - from.first) * from.cols, first);
}

// The new key or value.
struct Own {
  threadgroup const float* head;
};

ALWAYS_INLINE float own_column(Own from, uint c) { return c < head_dim ? from.head[c] : 0.0f; }

ALWAYS_INLINE Columns load_key(Own from, uint, uint first) {
  Columns result;
  result.low = float4(own_column(from, first), own_column(from, first + 1),
                      own_column(from, first + 2), own_column(from, first + 3));
  result.high = float4(own_column(from, first + 4), own_column(from, first + 5),
                       own_column(from, first + 6), own_column(from, first + 7));
  return result;
}

// Norms and turns a head into threadgroup memory; the whole simdgroup calls it, and another barrier
// must follow before others read it. Without `weight` it is not normed.
template <class T>
ALWAYS_INLINE void prepare(threadgroup float* to, device const T* from, device const float* weight,
                           device const float* frequencies, uint position, uint lane,
                           constant PagedAttentionDecodeParams& p) {
  float squares = 0.0f;
  for (uint c = lane; c < head_dim; c += 32) {
    to[c] = float(from[c]);
    squares += to[c] * to[c];
  }
  if (normed) {
    const float scale = precise::rsqrt(simd_sum(squares) / float(head_dim) + p.eps);
    for (uint c = lane; c < head_dim; c += 32) to[c] *= scale * weight[c];
  }
  if (!turned) return;
  simdgroup_barrier(mem_flags::mem_threadgroup);
  for (uint i = lane; i < p.rotary_dim / 2; i += 32) {
    const Pair pair = pair_of(i, p.rotary_dim, p.interleaved);
    const Turn turn = turn_of(float(position) * frequencies[i], p.attention_factor);
    const float a = to[pair.first], b = to[pair.second];
    to[pair.first] = a * turn.cosine - b * turn.sine;
    to[pair.second] = b * turn.cosine + a * turn.sine;
  }
}

// The part of the keys of a row that a threadgroup has.
struct Part {
  uint index, used;      // of the parts that the row has
  uint first, past_end;  // positions, without the row's own
};

ALWAYS_INLINE Part part_of(uint index, uint position) {
  const uint pages = position / kPagePositions + 1;
  const uint pages_each = ceil_divide(pages, parts);
  Part part;
  part.index = index;
  part.used = ceil_divide(pages, pages_each);
  part.first = min(index * pages_each * kPagePositions, position);
  part.past_end = min(part.first + pages_each * kPagePositions, position);
  return part;
}

// One head of a part or of the whole row, from the softmax of all simdgroups: its result, or what
// is to be joined with other parts. All threads call it. `gate` is null without one.
template <class T>
ALWAYS_INLINE void store_head(device T* y, device float* partial, device const T* gate, Part part,
                              threadgroup const float* memory, uint lane, uint simdgroup,
                              uint simdgroups) {
  const Joined joined = join_runs(memory, lane, simdgroups);
  for (uint c = simdgroup; c < head_dim; c += simdgroups) {
    const float sum = join_column(joined, memory, c, lane, simdgroups);
    if (lane != 0) continue;
    if (part.used == 1) {
      const float factor = gate ? 1.0f / (1.0f + precise::exp(-float(gate[c]))) : 1.0f;
      y[c] = T(factor * (sum / joined.total));
    } else {
      partial[c] = sum;
    }
  }
  if (part.used > 1 && lane == 0 && simdgroup == 0) {
    partial[head_dim] = joined.largest;
    partial[head_dim + 1] = joined.total;
  }
}

template <class T, class Stored>
[[kernel]] void paged_attention_decode(
    device const T* q [[buffer(0)]],  // (batch, heads, head_dim), or twice that with gates
    device const T* k [[buffer(1)]],  // (batch, kv_heads, head_dim)
    device const T* v [[buffer(2)]],  // (batch, kv_heads, head_dim)
    SSM_OPTIONAL(normed, 3, device const float* q_norm)       // (head_dim)
    SSM_OPTIONAL(normed, 4, device const float* k_norm)       // (head_dim)
    SSM_OPTIONAL(turned, 5, device const float* frequencies)  // (rotary_dim / 2)
    device Stored* keys [[buffer(6)]],                        // (page_count, 256, cols)
    device Stored* values [[buffer(7)]],                      // (page_count, 256, cols)
    device const uint* pages [[buffer(8)]],                   // (slots, pages_per_slot)
    device const uint* position [[buffer(9)]],                // (batch)
    device const uint* rows [[buffer(10)]],                   // (batch): slots
    device T* out [[buffer(11)]],                             // (batch, heads, head_dim)
    constant PagedAttentionDecodeParams& p [[buffer(12)]],
    // (batch, heads, parts, head_dim + 2): sums of columns, largest score, sum of weights
    SSM_OPTIONAL(divided, 13, device float* partial) threadgroup float* heads_memory
    [[threadgroup(0)]],  // (block_heads + 2, head_dim): q, k, v
    // (simdgroups, head_dim + 1): sums of a head; then (2, simdgroups): largest score and sum of
    // weights
    threadgroup float* memory [[threadgroup(1)]], uint3 group [[threadgroup_position_in_grid]],
    uint thread_index [[thread_index_in_threadgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
  SSM_ABSENT(normed, device const float* q_norm);
  SSM_ABSENT(normed, device const float* k_norm);
  SSM_ABSENT(turned, device const float* frequencies);
  SSM_ABSENT(divided, device float* partial);
  const uint kv = group.y, b = group.z, slot = rows[b];
  if (slot >= p.slots) return;  // the whole threadgroup, as below
  const uint own = position[b], row_page_count = own / kPagePositions + 1;
  const uint sharing = p.heads / p.kv_heads;  // query heads of this key/value head
  const uint blocks = ceil_divide(sharing, block_heads);
  const uint first_head = group.x % blocks * block_heads;
  const Part part = part_of(group.x / blocks, own);
  if (row_page_count > p.pages_per_slot || part.index >= part.used) return;
  device const uint* row_pages = pages + ulong(slot) * p.pages_per_slot;
  if (!pages_exist(row_pages, row_page_count, p.page_count, lane)) return;

  const uint head_stride = p.gated ? 2 * head_dim : head_dim;
  device const T* queries = q + ulong(b) * p.q_stride + kv * sharing * head_stride;
  threadgroup float* own_key = heads_memory + block_heads * head_dim;
  threadgroup float* own_value = own_key + head_dim;
  for (uint i = simdgroup; i < block_heads + 1; i += simdgroups) {
    const bool is_key = i == block_heads;
    const uint head = min(first_head + i, sharing - 1);
    prepare(heads_memory + i * head_dim,
            is_key ? k + ulong(b) * p.k_stride + kv * head_dim : queries + head * head_stride,
            is_key ? k_norm : q_norm, frequencies, own, lane, p);
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);

  const uint cols = p.kv_heads * head_dim;
  const bool is_last = part.index + 1 == part.used;
  const ulong own_row =
      ulong(row_pages[own / kPagePositions]) * kPagePositions + own % kPagePositions;
  for (uint c = thread_index; c < head_dim; c += 32 * simdgroups) {
    const Stored key = Stored(own_key[c]);
    const Stored value = Stored(float(v[ulong(b) * p.v_stride + kv * head_dim + c]));
    own_key[c] = float(key);
    own_value[c] = float(value);
    if (is_last && first_head == 0) {
      keys[own_row * cols + kv * head_dim + c] = key;
      values[own_row * cols + kv * head_dim + c] = value;
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);

  const LaneShare share = lane_share(lane);
  Heads heads;
  UNROLL for (uint i = 0; i < block_heads; ++i) {
    const Own query = {heads_memory + i * head_dim};
    heads.query[i] = load_key(query, 0, share.first);
    heads.query[i].low *= p.scale;
    heads.query[i].high *= p.scale;
  }
  clear_sums(heads);
  for (uint j = part.first + 32 * simdgroup; j < part.past_end; j += 32 * simdgroups) {
    const ulong page = row_pages[j / kPagePositions];
    const ulong at = page * kPagePositions * cols + kv * head_dim;
    const uint page_first = j - j % kPagePositions, count = min(part.past_end - j, 32u);
    const Page<Stored> page_keys = {keys + at, page_first, cols};
    const Page<Stored> page_values = {values + at, page_first, cols};
    const Block block = {j, count, j + count - 1};
    attend_block(heads, page_keys, page_values, block, share);
  }
  if (is_last && simdgroup == 0) {
    const Own key = {own_key}, value = {own_value};
    const Block block = {0, 1, 0};
    attend_block(heads, key, value, block, share);
  }

  UNROLL for (uint i = 0; i < block_heads; ++i) {
    write_run(memory, heads.sums[i], heads.largest[i], heads.total[i], share, simdgroup,
              simdgroups);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (first_head + i < sharing) {
      const uint h = kv * sharing + first_head + i;
      const ulong head = ulong(b) * p.heads + h;
      device float* of_part = nullptr;
      if (divided) of_part = partial + (head * parts + part.index) * (head_dim + 2);
      device const T* gate = nullptr;
      if (p.gated) gate = queries + (first_head + i) * head_stride + head_dim;
      store_head(out + head * head_dim, of_part, gate, part, memory, lane, simdgroup, simdgroups);
    }
    if (i + 1 < block_heads) threadgroup_barrier(mem_flags::mem_threadgroup);
  }
}

// The type of activations, and that of pages.
INSTANTIATE(paged_attention_decode, (float32, float16), (float32, float16));
