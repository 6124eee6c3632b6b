// One token of causal sliding-window attention: its key and value enter the rings of slot
// rows[b] (row position[b] mod window), then each query head attends to the last `window` keys, its
// own included:
//   out[b, h] = sum over keys j of softmax(scale * q[b, h] . key[j]) * value[j];
//   head h reads key/value head h / (heads / kv_heads)
// A row of the batch that has no slot does nothing.
//
// Grid: a threadgroup of up to 1024 threads for up to kDecodeHeads query heads of a key/value head,
// threadgroups (blocks of query heads, kv_heads, batch). Its simdgroups share the keys, each a run
// of them (attend_keys.h). So one dispatch is enough, and a threadgroup reads keys and values once.
// Why so few heads a threadgroup: models of this kind have one or two key/value heads and some
// twenty layers without attention for each one with it. There the threadgroups are what keeps cores
// busy (Rene: 16 to 32 query heads, one key/value head), and arithmetic, not memory, is what a core
// that has many heads would wait for; the keys that threadgroups read again come from the cache (a
// window of 2048 keys and values of 128 float16 is 1 MB). Two heads halve that traffic.
// The token's own key and value are read from k and v, never from the row of the ring that
// the first threadgroup of each key/value head replaces with them meanwhile: nobody reads that row.
// Limits: no slot twice; head_dim up to 256; window below 2^31; threadgroup memory of (head_dim +
// 3) floats a simdgroup, at most 32 of them.
#include <metal_stdlib>

#include "metal/attend_keys.h"
#include "metal/attention_decode.h"

// Keys or values of one key/value head, by their age.
template <class T>
struct Aged {
  device const T* own;   // of the token itself: age 0
  device const T* ring;  // (window, ring_columns)
  uint own_row, window, ring_columns;
};

template <class T>
ALWAYS_INLINE Columns load_key(Aged<T> from, uint age, uint first) {
  const uint row = from.own_row >= age ? from.own_row - age : from.own_row + from.window - age;
  return load_columns(age == 0 ? from.own : from.ring + ulong(row) * from.ring_columns, first);
}

// Each lane reads its columns of the queries, times the scale; nothing is summed yet. `h`: the
// first head of the threadgroup; beyond `last` that one is computed again, and not written.
template <class T>
ALWAYS_INLINE void start(thread Heads& heads, device const T* q, uint h, uint last, LaneShare share,
                         float scale) {
  UNROLL for (uint i = 0; i < block_heads; ++i) {
    heads.query[i] = load_columns(q + min(h + i, last) * head_dim, share.first);
    heads.query[i].low *= scale;
    heads.query[i].high *= scale;
  }
  clear_sums(heads);
}

template <class T>
[[kernel]] void attention_decode(
    device const T* q [[buffer(0)]],            // (batch, heads, head_dim)
    device const T* k [[buffer(1)]],            // (batch, kv_heads, head_dim)
    device const T* v [[buffer(2)]],            // (batch, kv_heads, head_dim)
    device T* keys [[buffer(3)]],               // (slots, window, kv_heads, head_dim)
    device T* values [[buffer(4)]],             // (slots, window, kv_heads, head_dim)
    device const uint* position [[buffer(5)]],  // (batch)
    device const uint* rows [[buffer(6)]],      // (batch): slots
    device T* out [[buffer(7)]],                // (batch, heads, head_dim)
    constant AttentionDecodeParams& p [[buffer(8)]],
    // (simdgroups, head_dim + 1): sums of a head; then (2, simdgroups): largest score and sum of
    // weights
    threadgroup float* memory [[threadgroup(0)]], uint3 group [[threadgroup_position_in_grid]],
    uint thread_index [[thread_index_in_threadgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
  const uint kv = group.y, b = group.z, slot = rows[b];
  if (slot >= p.slots) return;  // the whole threadgroup
  const LaneShare share = lane_share(lane);
  const uint sharing = p.heads / p.kv_heads;  // query heads of this key/value head
  const uint ring_columns = p.kv_heads * head_dim;
  device const T* own_key = k + ulong(b) * p.k_stride + kv * head_dim;
  device const T* own_value = v + ulong(b) * p.v_stride + kv * head_dim;
  device T* ring_keys = keys + ulong(slot) * p.window * ring_columns + kv * head_dim;
  device T* ring_values = values + ulong(slot) * p.window * ring_columns + kv * head_dim;

  const uint own_row = position[b] % p.window;
  if (group.x == 0) {
    for (uint c = thread_index; c < head_dim; c += 32 * simdgroups) {
      ring_keys[ulong(own_row) * ring_columns + c] = own_key[c];
      ring_values[ulong(own_row) * ring_columns + c] = own_value[c];
    }
  }

  Heads heads;
  const uint first_head = kv * sharing + group.x * block_heads;
  start(heads, q + ulong(b) * p.q_stride, first_head, kv * sharing + sharing - 1, share, p.scale);
  const Aged<T> aged_keys = {own_key, ring_keys, own_row, p.window, ring_columns};
  const Aged<T> aged_values = {own_value, ring_values, own_row, p.window, ring_columns};
  const uint count = min(position[b], p.window - 1) + 1;
  const uint run = (count + simdgroups - 1) / simdgroups;
  const uint begin = min(simdgroup * run, count), end = min(begin + run, count);
  for (uint j = begin; j < end; j += 32) {
    const Block block = {j, min(end - j, 32u), end - 1};
    attend_block(heads, aged_keys, aged_values, block, share);
  }

  // Each simdgroup writes what it has found of a head; then the lanes stand for the simdgroups.
  UNROLL for (uint i = 0; i < block_heads; ++i) {
    write_run(memory, heads.sums[i], heads.largest[i], heads.total[i], share, simdgroup,
              simdgroups);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    const uint head = group.x * block_heads + i;
    device T* y = out + (ulong(b) * p.heads + kv * sharing + head) * head_dim;
    const Joined joined = join_runs(memory, lane, simdgroups);
    for (uint c = simdgroup; c < head_dim; c += simdgroups) {
      const float sum = join_column(joined, memory, c, lane, simdgroups);
      if (lane == 0 && head < sharing) y[c] = T(sum / joined.total);
    }
    if (i + 1 < block_heads) threadgroup_barrier(mem_flags::mem_threadgroup);
  }
}

INSTANTIATE(attention_decode, (float32, float16));
