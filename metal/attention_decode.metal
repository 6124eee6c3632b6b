// One token of causal sliding-window attention: its key and value enter the rings (row position[b]
// mod window), then each query head attends to the last `window` keys, its own included:
//   out[b, h] = sum over keys j of softmax(scale * q[b, h] . key[j]) * value[j];
//   head h reads key/value head h / (heads / kv_heads)
// attention_decode: one simdgroup a query head, a threadgroup for the query heads of a key/value
// head
//   (up to 32 of them, or fewer where the GPU allows fewer threads) and for kKeySplit keys,
//   threadgroups (ceil(heads / kv_heads / simdgroups), kv_heads, batch * splits). So keys and
//   values are read from memory once for all of their heads, and a model with few key/value heads
//   still uses many cores. Blocks of 32 keys, 64 columns at a time, go through threadgroup memory.
//   A lane computes the score of one key, then sums values for its own columns; the softmax is
//   online. Threadgroups whose keys do not exist yet do nothing.
// attention_decode_join: puts the parts together, where the window has more than kKeySplit keys.
// One
//   simdgroup a query head, threadgroups (heads, batch) of 32 threads.
// The token's own key and value are read from k and v, never from the row of the ring that the
// first threadgroup of each key/value head replaces with them meanwhile: nobody reads that row.
// Limits: head_dim up to 256; window below 2^31; 9 KB of threadgroup memory.
#include <metal_stdlib>

#include "attention_decode.h"
#include "common.h"
#include "tile_shape.h"

constant uint head_dim [[function_constant(0)]];
constant bool in_parts [[function_constant(1)]];  // the window has more than kKeySplit keys

constant constexpr uint kColumns = kLargestHead / 32;  // of a lane, at most
constant constexpr float kLowest = -3.4028235e38f;

// Loads 64 columns, from column c0 on, of the block of keys (or values) that are j0 and more tokens
// old: rows of the ring, but for the token's own. Zeros where there is nothing.
template <class T>
inline void load_block(threadgroup float* block, device const T* own, device const T* ring,
                       uint own_row, uint j0, uint earlier, uint c0, uint thread_index,
                       uint threads, constant AttentionDecodeParams& p) {
  for (uint i = thread_index; i < kKeyBlock * kKeyColumns; i += threads) {
    const uint j = j0 + i / kKeyColumns, c = c0 + i % kKeyColumns;
    const uint row = own_row >= j ? own_row - j : own_row + p.window - j;
    float value = 0.0f;
    if (c < head_dim && j == 0) value = float(own[c]);
    if (c < head_dim && j > 0 && j <= earlier) {
      value = float(ring[ulong(row) * p.kv_heads * head_dim + c]);
    }
    block[i / kKeyColumns * kKeyStride + i % kKeyColumns] = value;
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
    // (batch, heads, splits, 2 + head_dim): largest score, sum of weights, sums of values
    device float* parts [[buffer(8), function_constant(in_parts)]],
    threadgroup float* block [[threadgroup(0)]],  // (32, 65): keys, then values
    uint3 group [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
  const uint splits = (p.window + kKeySplit - 1) / kKeySplit;
  const uint kv = group.y, b = group.z / splits, split = group.z % splits;
  const uint threads = simdgroups * 32;
  const uint sharing = p.heads / p.kv_heads;  // query heads of this key/value head
  const uint head = group.x * simdgroups + simdgroup;
  const bool active = head < sharing;  // simdgroups without a head only help to load
  const uint h = kv * sharing + (active ? head : 0);
  const uint columns = p.kv_heads * head_dim;  // of a row of the rings
  device const T* own_key = k + ulong(b) * p.k_stride + kv * head_dim;
  device const T* own_value = v + ulong(b) * p.v_stride + kv * head_dim;
  device T* ring_keys = keys + ulong(b) * p.window * columns + kv * head_dim;
  device T* ring_values = values + ulong(b) * p.window * columns + kv * head_dim;
  device const T* query = q + ulong(b) * p.q_stride + h * head_dim;

  const uint own_row = position[b] % p.window;
  const uint earlier = min(position[b], p.window - 1);  // keys before the token's own
  // Key j is j tokens old; key 0 is the token's own.
  const uint begin = split * kKeySplit;
  const uint end = min(begin + uint(kKeySplit), earlier + 1);
  if (begin >= end) return;  // the whole threadgroup
  if (group.x == 0 && split == 0) {
    for (uint c = thread_index; c < head_dim; c += threads) {
      ring_keys[ulong(own_row) * columns + c] = own_key[c];
      ring_values[ulong(own_row) * columns + c] = own_value[c];
    }
  }

  float sums[kColumns];  // of columns lane, lane + 32, ...
  for (uint i = 0; i < kColumns; ++i) sums[i] = 0.0f;
  float largest = kLowest, total = 0.0f;  // the same in every lane
  for (uint j0 = begin; j0 < end; j0 += kKeyBlock) {
    float score = 0.0f;
    for (uint c0 = 0; c0 < head_dim; c0 += kKeyColumns) {
      load_block(block, own_key, ring_keys, own_row, j0, earlier, c0, thread_index, threads, p);
      threadgroup_barrier(mem_flags::mem_threadgroup);
      for (uint c = 0; c < min(uint(kKeyColumns), head_dim - c0); ++c) {
        score += float(query[c0 + c]) * block[lane * kKeyStride + c];
      }
      threadgroup_barrier(mem_flags::mem_threadgroup);
    }

    const bool visible = j0 + lane <= earlier;
    score = visible ? p.scale * score : kLowest;
    const float now = max(largest, simd_max(score));
    const float weight = visible ? precise::exp(score - now) : 0.0f;
    const float correction = precise::exp(largest - now);
    total = total * correction + simd_sum(weight);
    largest = now;

    for (uint i = 0; i < kColumns; i += 2) {
      const uint c0 = i * 32;
      if (c0 >= head_dim) break;
      load_block(block, own_value, ring_values, own_row, j0, earlier, c0, thread_index, threads, p);
      threadgroup_barrier(mem_flags::mem_threadgroup);
      sums[i] *= correction;
      sums[i + 1] *= correction;
      for (uint j = 0; j < kKeyBlock; ++j) {
        const float w = simd_shuffle(weight, ushort(j));
        sums[i] += w * block[j * kKeyStride + lane];
        sums[i + 1] += w * block[j * kKeyStride + 32 + lane];
      }
      threadgroup_barrier(mem_flags::mem_threadgroup);
    }
  }

  if (!active) return;
  if (in_parts) {
    device float* part = parts + ((ulong(b) * p.heads + h) * splits + split) * (2 + head_dim);
    if (lane == 0) {
      part[0] = largest;
      part[1] = total;
    }
    for (uint i = 0; i < kColumns; ++i) {
      const uint c = i * 32 + lane;
      if (c < head_dim) part[2 + c] = sums[i];
    }
    return;
  }
  device T* y = out + (ulong(b) * p.heads + h) * head_dim;
  for (uint i = 0; i < kColumns; ++i) {
    const uint c = i * 32 + lane;
    if (c < head_dim) y[c] = T(sums[i] / total);
  }
}

INSTANTIATE("attention_decode_float32", attention_decode<float>);

template <class T>
[[kernel]] void attention_decode_join(device const uint* position [[buffer(5)]],  // (batch)
                                      device T* out [[buffer(6)]],  // (batch, heads, head_dim)
                                      constant AttentionDecodeParams& p [[buffer(7)]],
                                      device const float* parts
                                      [[buffer(8)]],  // (batch, heads, splits, 2 + head_dim)
                                      uint2 group [[threadgroup_position_in_grid]],
                                      uint lane [[thread_index_in_simdgroup]]) {
  const uint h = group.x, b = group.y;
  const uint splits = (p.window + kKeySplit - 1) / kKeySplit;
  const uint filled = min(position[b], p.window - 1) / kKeySplit + 1;  // parts that were written
  const ulong i = ulong(b) * p.heads + h;
  device const float* rows = parts + i * splits * (2 + head_dim);
  float largest = kLowest;
  for (uint s = 0; s < filled; ++s) largest = max(largest, rows[ulong(s) * (2 + head_dim)]);
  float total = 0.0f;
  for (uint s = 0; s < filled; ++s) {
    device const float* row = rows + ulong(s) * (2 + head_dim);
    total += row[1] * precise::exp(row[0] - largest);
  }
  for (uint c = lane; c < head_dim; c += 32) {
    float sum = 0.0f;
    for (uint s = 0; s < filled; ++s) {
      device const float* row = rows + ulong(s) * (2 + head_dim);
      sum += row[2 + c] * precise::exp(row[0] - largest);
    }
    out[i * head_dim + c] = T(sum / total);
  }
}

INSTANTIATE("attention_decode_join_float32", attention_decode_join<float>);
