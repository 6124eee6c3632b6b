// One token of causal sliding-window attention: its key and value enter the rings (row position[b]
// mod window), then each query head attends to the last `window` keys, its own included:
//   out[b, h] = sum over keys j of softmax(scale * q[b, h] . key[j]) * value[j];
//   head h reads key/value head h / (heads / kv_heads)
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
// A lane holds head_dim / 32 neighbouring columns, so keys and values are read in whole rows; a
// score is a simd_sum. The softmax is online, with one correction a block of 32 keys. The token's
// own key and value are read from k and v, never from the row of the ring that the first
// threadgroup of each key/value head replaces with them meanwhile: nobody reads that row.
// Limits: head_dim up to 256; window below 2^31; kJoinBytes of threadgroup memory.
#include <metal_stdlib>

#include "attention_decode.h"
#include "common.h"
#include "tile_shape.h"

constant uint head_dim [[function_constant(0)]];
constant uint block_heads [[function_constant(1)]];  // of a threadgroup, at most kDecodeHeads
// Keys whose reads are under way at once: a power of two, up to kDecodeKeys. Beyond the last key of
// a run the last one is read again: its score is the largest of no more keys than before, and it
// weighs nothing.
constant uint together [[function_constant(2)]];

constant constexpr uint kColumns = kLargestHead / 32;  // of a lane, at most
constant constexpr float kLowest = -3.4028235e38f;

// The columns of this lane: zeros beyond the head.
template <class T>
inline void load_columns(thread float* to, device const T* row, uint lane) {
  const uint columns = (head_dim + 31) / 32;
  for (uint i = 0; i < columns; ++i) {
    const uint c = lane * columns + i;
    to[i] = head_dim % 32 == 0 || c < head_dim ? float(row[c]) : 0.0f;
  }
}

template <class T>
[[kernel]] void attention_decode(
    device const T* q [[buffer(0)]],            // (batch, heads, head_dim)
    device const T* k [[buffer(1)]],            // (batch, kv_heads, head_dim)
    device const T* v [[buffer(2)]],            // (batch, kv_heads, head_dim)
    device T* keys [[buffer(3)]],               // (batch, window, kv_heads, head_dim)
    device T* values [[buffer(4)]],             // (batch, window, kv_heads, head_dim)
    device const uint* position [[buffer(5)]],  // (batch)
    device T* out [[buffer(6)]],                // (batch, heads, head_dim)
    constant AttentionDecodeParams& p [[buffer(7)]],
    // (32, 33): a column of each lane (first index) of each simdgroup; then (2, 32): largest score
    // and sum of weights of each simdgroup
    threadgroup float* memory [[threadgroup(0)]], uint3 group [[threadgroup_position_in_grid]],
    uint thread_index [[thread_index_in_threadgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
  const uint kv = group.y, b = group.z;
  const uint columns = (head_dim + 31) / 32;  // of a lane
  const uint sharing = p.heads / p.kv_heads;  // query heads of this key/value head
  const uint ring_columns = p.kv_heads * head_dim;
  device const T* own_key = k + ulong(b) * p.k_stride + kv * head_dim;
  device const T* own_value = v + ulong(b) * p.v_stride + kv * head_dim;
  device T* ring_keys = keys + ulong(b) * p.window * ring_columns + kv * head_dim;
  device T* ring_values = values + ulong(b) * p.window * ring_columns + kv * head_dim;

  const uint own_row = position[b] % p.window;
  if (group.x == 0) {
    for (uint c = thread_index; c < head_dim; c += 32 * simdgroups) {
      ring_keys[ulong(own_row) * ring_columns + c] = own_key[c];
      ring_values[ulong(own_row) * ring_columns + c] = own_value[c];
    }
  }

  // Beyond the last head the last one is computed again, and not written.
  float query[kDecodeHeads][kColumns], sums[kDecodeHeads][kColumns];
  float largest[kDecodeHeads], total[kDecodeHeads];  // the same in every lane
  for (uint i = 0; i < block_heads; ++i) {
    const uint h = kv * sharing + min(group.x * block_heads + i, sharing - 1);
    load_columns(query[i], q + ulong(b) * p.q_stride + h * head_dim, lane);
    for (uint c = 0; c < columns; ++c) {
      query[i][c] *= p.scale;
      sums[i][c] = 0.0f;
    }
    largest[i] = kLowest;
    total[i] = 0.0f;
  }

  // Key j is j tokens old; key 0 is the token's own.
  const uint count = min(position[b], p.window - 1) + 1;
  const uint run = (count + simdgroups - 1) / simdgroups;
  const uint begin = min(simdgroup * run, count), end = min(begin + run, count);
  for (uint j0 = begin; j0 < end; j0 += 32) {
    const uint block = min(end - j0, 32u);
    float score[kDecodeHeads];  // of key j0 + lane
    for (uint i = 0; i < block_heads; ++i) score[i] = kLowest;
    for (uint n = 0; n < block; n += together) {
      float key[kDecodeKeys][kColumns];
      UNROLL for (uint m = 0; m < together; ++m) {
        const uint j = min(j0 + n + m, end - 1);
        const uint row = own_row >= j ? own_row - j : own_row + p.window - j;
        load_columns(key[m], j == 0 ? own_key : ring_keys + ulong(row) * ring_columns, lane);
      }
      UNROLL for (uint m = 0; m < together; ++m) {
        for (uint i = 0; i < block_heads; ++i) {
          float product = 0.0f;
          for (uint c = 0; c < columns; ++c) product += query[i][c] * key[m][c];
          product = simd_sum(product);
          if (lane == n + m) score[i] = product;
        }
      }
    }
    float weight[kDecodeHeads];
    for (uint i = 0; i < block_heads; ++i) {
      const float now = max(largest[i], simd_max(score[i]));
      const float correction = precise::exp(largest[i] - now);
      weight[i] = lane < block ? precise::exp(score[i] - now) : 0.0f;
      total[i] = total[i] * correction + simd_sum(weight[i]);
      largest[i] = now;
      for (uint c = 0; c < columns; ++c) sums[i][c] *= correction;
    }
    for (uint n = 0; n < block; n += together) {
      float value[kDecodeKeys][kColumns];
      UNROLL for (uint m = 0; m < together; ++m) {
        const uint j = min(j0 + n + m, end - 1);
        const uint row = own_row >= j ? own_row - j : own_row + p.window - j;
        load_columns(value[m], j == 0 ? own_value : ring_values + ulong(row) * ring_columns, lane);
      }
      UNROLL for (uint m = 0; m < together; ++m) {
        for (uint i = 0; i < block_heads; ++i) {
          const float w = simd_shuffle(weight[i], ushort(n + m));  // 0 beyond the block
          for (uint c = 0; c < columns; ++c) sums[i][c] += w * value[m][c];
        }
      }
    }
  }

  threadgroup float* column = memory;
  threadgroup float* of_runs = memory + 32 * 33;
  for (uint i = 0; i < block_heads; ++i) {
    const uint head = group.x * block_heads + i;
    if (lane == 0) {
      of_runs[simdgroup] = largest[i];
      of_runs[32 + simdgroup] = total[i];
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    const float theirs = lane < simdgroups ? of_runs[lane] : kLowest;
    const float most = simd_max(theirs);
    const float weights = lane < simdgroups ? of_runs[32 + lane] : 0.0f;
    const float factor =
        precise::exp(largest[i] - most) / simd_sum(weights * precise::exp(theirs - most));
    for (uint c = 0; c < columns; ++c) {
      column[lane * 33 + simdgroup] = sums[i][c] * factor;
      threadgroup_barrier(mem_flags::mem_threadgroup);
      for (uint l = simdgroup; l < 32; l += simdgroups) {
        const float sum = simd_sum(lane < simdgroups ? column[l * 33 + lane] : 0.0f);
        const uint at = l * columns + c;
        if (lane == 0 && at < head_dim && head < sharing) {
          out[(ulong(b) * p.heads + kv * sharing + head) * head_dim + at] = T(sum);
        }
      }
      threadgroup_barrier(mem_flags::mem_threadgroup);
    }
  }
}

INSTANTIATE("attention_decode_float32", attention_decode<float>);
INSTANTIATE("attention_decode_float16", attention_decode<half>);
