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
inline Columns load_columns(device const T* row, uint first) {
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
  // Lane `place` of its key takes columns `first` and on.
  const uint key_lanes = head_dim <= kLaneColumns        ? 1
                         : head_dim <= 2 * kLaneColumns  ? 2
                         : head_dim <= 4 * kLaneColumns  ? 4
                         : head_dim <= 8 * kLaneColumns  ? 8
                         : head_dim <= 16 * kLaneColumns ? 16
                                                         : 32;
  const uint side = 32 / key_lanes;             // keys side by side
  const uint steps = min(together, key_lanes);  // of keys that are under way at once
  const uint place = lane % key_lanes, first = kLaneColumns * place;
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

  // Beyond the last head the last one is computed again, and not written.
  Columns query[kDecodeHeads], sums[kDecodeHeads];
  float largest[kDecodeHeads], total[kDecodeHeads];  // the same in every lane
  UNROLL for (uint i = 0; i < block_heads; ++i) {
    const uint h = kv * sharing + min(group.x * block_heads + i, sharing - 1);
    query[i] = load_columns(q + ulong(b) * p.q_stride + h * head_dim, first);
    query[i].low *= p.scale;
    query[i].high *= p.scale;
    sums[i].low = sums[i].high = float4(0.0f);
    largest[i] = kLowest;
    total[i] = 0.0f;
  }

  // Key j is j tokens old; key 0 is the token's own. Of a block of 32, step n takes keys n * side
  // and on, one each key_lanes lanes; the score and the weight of a key stay in lane n of those.
  const uint count = min(position[b], p.window - 1) + 1;
  const uint run = (count + simdgroups - 1) / simdgroups;
  const uint begin = min(simdgroup * run, count), end = min(begin + run, count);
  const uint beside = lane / key_lanes;
  for (uint j0 = begin; j0 < end; j0 += 32) {
    const uint block = min(end - j0, 32u);
    float score[kDecodeHeads];
    UNROLL for (uint i = 0; i < block_heads; ++i) score[i] = kLowest;
    for (uint n = 0; n * side < block; n += steps) {
      Columns key[kDecodeKeys];
      UNROLL for (uint m = 0; m < steps; ++m) {
        const uint j = min(j0 + (n + m) * side + beside, end - 1);
        const uint row = own_row >= j ? own_row - j : own_row + p.window - j;
        key[m] = load_columns(j == 0 ? own_key : ring_keys + ulong(row) * ring_columns, first);
      }
      UNROLL for (uint m = 0; m < steps; ++m) {
        UNROLL for (uint i = 0; i < block_heads; ++i) {
          float product = dot(query[i].low, key[m].low) + dot(query[i].high, key[m].high);
          UNROLL for (uint step = 1; step < key_lanes; step *= 2) {
            product += simd_shuffle_xor(product, ushort(step));
          }
          if (place == n + m) score[i] = product;
        }
      }
    }
    const bool inside = place * side + beside < block;
    float weight[kDecodeHeads];
    UNROLL for (uint i = 0; i < block_heads; ++i) {
      const float now = max(largest[i], simd_max(inside ? score[i] : kLowest));
      const float correction = precise::exp(largest[i] - now);
      weight[i] = inside ? precise::exp(score[i] - now) : 0.0f;
      total[i] = total[i] * correction + simd_sum(weight[i]);
      largest[i] = now;
      sums[i].low *= correction;
      sums[i].high *= correction;
    }
    for (uint n = 0; n * side < block; n += steps) {
      Columns value[kDecodeKeys];
      UNROLL for (uint m = 0; m < steps; ++m) {
        const uint j = min(j0 + (n + m) * side + beside, end - 1);
        const uint row = own_row >= j ? own_row - j : own_row + p.window - j;
        value[m] =
            load_columns(j == 0 ? own_value : ring_values + ulong(row) * ring_columns, first);
      }
      UNROLL for (uint m = 0; m < steps; ++m) {
        UNROLL for (uint i = 0; i < block_heads; ++i) {
          const float w = simd_shuffle(weight[i], ushort(beside * key_lanes + n + m));
          sums[i].low += w * value[m].low;
          sums[i].high += w * value[m].high;
        }
      }
    }
  }

  // Each simdgroup writes what it has found of a head; then the lanes stand for the simdgroups.
  threadgroup float* of_runs = memory + simdgroups * (head_dim + 1);
  UNROLL for (uint i = 0; i < block_heads; ++i) {
    UNROLL for (uint c = 0; c < kLaneColumns; ++c) {
      float sum = c < 4 ? sums[i].low[c % 4] : sums[i].high[c % 4];
      UNROLL for (uint step = key_lanes; step < 32; step *= 2) {
        sum += simd_shuffle_xor(sum, ushort(step));
      }
      if (beside == 0 && first + c < head_dim) memory[simdgroup * (head_dim + 1) + first + c] = sum;
    }
    if (lane == 0) {
      of_runs[simdgroup] = largest[i];
      of_runs[simdgroups + simdgroup] = total[i];
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    const float theirs = lane < simdgroups ? of_runs[lane] : kLowest;
    const float weights = lane < simdgroups ? of_runs[simdgroups + lane] : 0.0f;
    const float factor = precise::exp(theirs - simd_max(theirs));
    const float part = factor / simd_sum(weights * factor);
    const uint head = group.x * block_heads + i;
    for (uint c = simdgroup; c < head_dim; c += simdgroups) {
      const float sum =
          simd_sum(lane < simdgroups ? part * memory[lane * (head_dim + 1) + c] : 0.0f);
      if (lane == 0 && head < sharing) {
        out[(ulong(b) * p.heads + kv * sharing + head) * head_dim + c] = T(sum);
      }
    }
    if (i + 1 < block_heads) threadgroup_barrier(mem_flags::mem_threadgroup);
  }
}

INSTANTIATE(attention_decode, (float32, float16));
