// One token of causal sliding-window attention: its key and value enter the rings of slot
// rows[b] (row position[b] mod window), then each query head attends to the last `window` keys, its
// own included:
//   out[b, h] = sum over keys j of softmax(scale * q[b, h] . key[j]) * value[j];
//   head h reads key/value head h / (heads / kv_heads)
// A row of the batch that has no slot does nothing.
//
// Grid: a threadgroup of up to 1024 threads for up to kDecodeHeads query heads of a key/value head,
// threadgroups (blocks of query heads, kv_heads, batch). Its simdgroups share the keys among
// themselves: each takes a run of them, in blocks of 32, for all heads of the threadgroup, and at
// the end they put their softmax together in threadgroup memory. So one dispatch is enough, and a
// threadgroup reads keys and values once.
// Why so few heads a threadgroup: models of this kind have one or two key/value heads and some
// twenty layers without attention for each one with it. There the threadgroups are what keeps cores
// busy (Rene: 16 to 32 query heads, one key/value head), and arithmetic, not memory, is what a core
// that has many heads would wait for; the keys that threadgroups read again come from the cache (a
// window of 2048 keys and values of 128 float16 is 1 MB). Two heads halve that traffic.
// A lane holds kLaneColumns neighbouring columns, so as few lanes as hold a head (a power of two)
// take a key, and a simdgroup takes some keys side by side: the wider the reads of a lane, the
// fewer lanes a score is summed over. The softmax is online, with one correction a block of 32
// keys. The token's own key and value are read from k and v, never from the row of the ring that
// the first threadgroup of each key/value head replaces with them meanwhile: nobody reads that row.
// Limits: no slot twice; head_dim up to 256; window below 2^31; threadgroup memory of (head_dim +
// 3) floats a simdgroup, at most 32 of them.
#include <metal_stdlib>

#include "metal/attention_decode.h"
#include "metal/common.h"
#include "metal/tile_shape.h"

SSM_CONSTANT(uint, head_dim);
SSM_CONSTANT(uint, block_heads);  // of a threadgroup, at most kDecodeHeads
// Keys of a lane whose reads are under way at once: a power of two, up to kDecodeKeys. Beyond the
// last key of a run the last one is read again, and it weighs nothing.
SSM_CONSTANT(uint, together);
// head_dim is a multiple of kLaneColumns, and rows of q, k, v and the rings start at multiples of
// 16 bytes.
SSM_CONSTANT(bool, aligned_loads);

constant constexpr uint kLaneColumns = 8;
constant constexpr float kLowest = -3.4028235e38f;

// Columns `first` and on of a row: zeros beyond the head.
struct Columns {
  float4 low, high;
};

template <class T>
ALWAYS_INLINE Columns load_columns(device const T* row, uint first) {
  Columns result = {float4(0.0f), float4(0.0f)};
  if (first + kLaneColumns <= head_dim) {
    load8(row + first, aligned_loads, result.low, result.high);
  } else if (!aligned_loads && first < head_dim) {
    const uint count = head_dim - first;
    result.low = load_some(row + first, count);
    if (count > 4) result.high = load_some(row + first + 4, count - 4);
  }
  return result;
}

// Lanes of a key: as few as hold a head, a power of two.
ALWAYS_INLINE uint key_lanes() {
  return head_dim <= kLaneColumns        ? 1
         : head_dim <= 2 * kLaneColumns  ? 2
         : head_dim <= 4 * kLaneColumns  ? 4
         : head_dim <= 8 * kLaneColumns  ? 8
         : head_dim <= 16 * kLaneColumns ? 16
                                         : 32;
}
ALWAYS_INLINE uint keys_aside() { return 32 / key_lanes(); }
// Steps of keys side by side that are under way at once.
ALWAYS_INLINE uint steps_together() { return min(together, key_lanes()); }

// Of a lane: `place` among those of its key, which takes columns `first` and on; its key is number
// `beside` of those side by side.
struct LaneShare {
  uint lane, place, first, beside;
};

ALWAYS_INLINE LaneShare lane_share(uint lane) {
  LaneShare share;
  share.lane = lane;
  share.place = lane % key_lanes();
  share.first = kLaneColumns * share.place;
  share.beside = lane / key_lanes();
  return share;
}

// Keys or values of one key/value head, by their age.
template <class T>
struct Aged {
  device const T* own;   // of the token itself: age 0
  device const T* ring;  // (window, ring_columns)
  uint own_row, window, ring_columns;
};

template <class T>
ALWAYS_INLINE Columns load_aged(Aged<T> from, uint age, uint first) {
  const uint row = from.own_row >= age ? from.own_row - age : from.own_row + from.window - age;
  return load_columns(age == 0 ? from.own : from.ring + ulong(row) * from.ring_columns, first);
}

// A block of up to 32 keys of a simdgroup's run: key j is j tokens old. Step n takes keys n *
// keys_aside() and on, one each key_lanes(); score and weight of a key stay in lane n of those.
struct Block {
  uint first, count;  // its keys
  uint last;          // of the run
};

ALWAYS_INLINE uint age_of(Block block, uint step, LaneShare share) {
  return min(block.first + step * keys_aside() + share.beside, block.last);
}

// What a simdgroup has so far of the heads of its threadgroup: a lane its columns of query and sum;
// largest score and sum of weights are the same in every lane.
struct Heads {
  Columns query[kDecodeHeads], sums[kDecodeHeads];
  float largest[kDecodeHeads], total[kDecodeHeads];
};

// Each lane reads its columns of the queries, times the scale; nothing is summed yet. `h`: the
// first head of the threadgroup; beyond `last` that one is computed again, and not written.
template <class T>
ALWAYS_INLINE void start(thread Heads& heads, device const T* q, uint h, uint last, LaneShare share,
                         float scale) {
  UNROLL for (uint i = 0; i < block_heads; ++i) {
    heads.query[i] = load_columns(q + min(h + i, last) * head_dim, share.first);
    heads.query[i].low *= scale;
    heads.query[i].high *= scale;
    heads.sums[i].low = heads.sums[i].high = float4(0.0f);
    heads.largest[i] = kLowest;
    heads.total[i] = 0.0f;
  }
}

// Scores of a block's keys; the whole simdgroup calls it.
template <class T>
ALWAYS_INLINE void find_scores(thread float (&score)[kDecodeHeads], thread const Heads& heads,
                               Aged<T> keys, Block block, LaneShare share) {
  UNROLL for (uint i = 0; i < block_heads; ++i) score[i] = kLowest;
  for (uint n = 0; n * keys_aside() < block.count; n += steps_together()) {
    Columns key[kDecodeKeys];
    UNROLL for (uint m = 0; m < steps_together(); ++m) {
      key[m] = load_aged(keys, age_of(block, n + m, share), share.first);
    }
    UNROLL for (uint m = 0; m < steps_together(); ++m) {
      UNROLL for (uint i = 0; i < block_heads; ++i) {
        float product = dot(heads.query[i].low, key[m].low) + dot(heads.query[i].high, key[m].high);
        UNROLL for (uint step = 1; step < key_lanes(); step *= 2) {
          product += simd_shuffle_xor(product, ushort(step));
        }
        if (share.place == n + m) score[i] = product;
      }
    }
  }
}

// The softmax so far, with the block's scores in it: turns them into weights, and scales down what
// earlier blocks gave. The whole simdgroup calls it.
ALWAYS_INLINE void find_weights(thread float (&weight)[kDecodeHeads], thread Heads& heads,
                                thread const float (&score)[kDecodeHeads], Block block,
                                LaneShare share) {
  const bool inside = share.place * keys_aside() + share.beside < block.count;
  UNROLL for (uint i = 0; i < block_heads; ++i) {
    const float now = max(heads.largest[i], simd_max(inside ? score[i] : kLowest));
    const float correction = precise::exp(heads.largest[i] - now);
    weight[i] = inside ? precise::exp(score[i] - now) : 0.0f;
    heads.total[i] = heads.total[i] * correction + simd_sum(weight[i]);
    heads.largest[i] = now;
    heads.sums[i].low *= correction;
    heads.sums[i].high *= correction;
  }
}

// Adds the block's values by their weights; the whole simdgroup calls it.
template <class T>
ALWAYS_INLINE void add_values(thread Heads& heads, thread const float (&weight)[kDecodeHeads],
                              Aged<T> values, Block block, LaneShare share) {
  for (uint n = 0; n * keys_aside() < block.count; n += steps_together()) {
    Columns value[kDecodeKeys];
    UNROLL for (uint m = 0; m < steps_together(); ++m) {
      value[m] = load_aged(values, age_of(block, n + m, share), share.first);
    }
    UNROLL for (uint m = 0; m < steps_together(); ++m) {
      UNROLL for (uint i = 0; i < block_heads; ++i) {
        const float w = simd_shuffle(weight[i], ushort(share.beside * key_lanes() + n + m));
        heads.sums[i].low += w * value[m].low;
        heads.sums[i].high += w * value[m].high;
      }
    }
  }
}

// Each simdgroup writes what it has of a head where the kernel's threadgroup memory has it. A
// barrier must follow.
ALWAYS_INLINE void write_run(threadgroup float* memory, thread const Columns& sums, float largest,
                             float total, LaneShare share, uint simdgroup, uint simdgroups) {
  UNROLL for (uint c = 0; c < kLaneColumns; ++c) {
    float sum = c < 4 ? sums.low[c % 4] : sums.high[c % 4];
    UNROLL for (uint step = key_lanes(); step < 32; step *= 2) {
      sum += simd_shuffle_xor(sum, ushort(step));
    }
    if (share.beside == 0 && share.first + c < head_dim) {
      memory[simdgroup * (head_dim + 1) + share.first + c] = sum;
    }
  }
  if (share.lane == 0) {
    threadgroup float* of_runs = memory + simdgroups * (head_dim + 1);
    of_runs[simdgroup] = largest;
    of_runs[simdgroups + simdgroup] = total;
  }
}

// Puts the softmax of all simdgroups together, a lane for each of them; a simdgroup takes columns
// of the head, and writes them to y if they are `wanted`. All threads call it.
template <class T>
ALWAYS_INLINE void join_runs(device T* y, bool wanted, threadgroup const float* memory, uint lane,
                             uint simdgroup, uint simdgroups) {
  threadgroup const float* of_runs = memory + simdgroups * (head_dim + 1);
  const float theirs = lane < simdgroups ? of_runs[lane] : kLowest;
  const float weights = lane < simdgroups ? of_runs[simdgroups + lane] : 0.0f;
  const float factor = precise::exp(theirs - simd_max(theirs));
  const float part = factor / simd_sum(weights * factor);
  for (uint c = simdgroup; c < head_dim; c += simdgroups) {
    const float sum = simd_sum(lane < simdgroups ? part * memory[lane * (head_dim + 1) + c] : 0.0f);
    if (lane == 0 && wanted) y[c] = T(sum);
  }
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
    float score[kDecodeHeads], weight[kDecodeHeads];
    find_scores(score, heads, aged_keys, block, share);
    find_weights(weight, heads, score, block, share);
    add_values(heads, weight, aged_values, block, share);
  }

  // Each simdgroup writes what it has found of a head; then the lanes stand for the simdgroups.
  UNROLL for (uint i = 0; i < block_heads; ++i) {
    write_run(memory, heads.sums[i], heads.largest[i], heads.total[i], share, simdgroup,
              simdgroups);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    const uint head = group.x * block_heads + i;
    device T* y = out + (ulong(b) * p.heads + kv * sharing + head) * head_dim;
    join_runs(y, head < sharing, memory, lane, simdgroup, simdgroups);
    if (i + 1 < block_heads) threadgroup_barrier(mem_flags::mem_threadgroup);
  }
}

INSTANTIATE(attention_decode, (float32, float16));
