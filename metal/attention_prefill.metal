// A chunk of causal sliding-window attention. With keys and values of this chunk in k and v,
// earlier ones in the rings of slot rows[b] (absolute position q in row q mod window), and
// r = position[b] + t:
//   out[b, t, h] = sum over keys j of softmax(scale * q[b, t, h] . key[j]) * value[j],
//   j from max(0, r - window + 1) to r; head h reads key/value head h / (heads / kv_heads)
// A row of the batch that has no slot does nothing.
// Grid: a threadgroup of 128 threads for 32 tokens of a query head, threadgroups (ceil(length /
// 32), heads, batch). It walks the keys that its tokens can see in blocks of 32 and touches no
// others; what one of its tokens may not see is left out by comparing positions, there is no mask
// tensor. Scores and outputs are products of simdgroup matrices; the softmax is online: when a
// row's largest score grows, the sums so far are scaled down, by a product with a diagonal matrix.
// The rings are only read: kv_cache_write follows.
// Limits: head_dim up to 256; window and length below 2^31; 128 threads, 15 KB of threadgroup
// memory.
#include <metal_stdlib>

#include "metal/attention_prefill.h"
#include "metal/tile_product.h"

SSM_CONSTANT(uint, head_dim);

constant constexpr uint kSlices = kLargestHead / kTile;  // of 32 columns of a head, at most
constant constexpr uint kRows = 8;                       // of a simdgroup, in the softmax
constant constexpr float kLowest = -3.4028235e38f;

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
  const uint columns = p.kv_heads * head_dim;  // of a row of the rings
  const uint column = h / (p.heads / p.kv_heads) * head_dim;
  device const T* queries = q + (ulong(b) * p.length + t0) * p.q_stride + h * head_dim;

  // Keys by their place relative to this chunk: those before it are negative.
  const uint first = position[b];
  const int oldest = max(int(t0) + 1 - int(p.window), -int(min(first, p.window)));
  const int newest = int(t0 + tokens) - 1;

  Product sums[kSlices];
  UNROLL for (uint slice = 0; slice < kSlices; ++slice) clear(sums[slice]);
  float largest[kRows], total[kRows];  // of the rows of this simdgroup, the same in every lane
  UNROLL for (uint i = 0; i < kRows; ++i) {
    largest[i] = kLowest;
    total[i] = 0.0f;
  }
  for (uint i = thread_index; i < 4 * 8 * 8; i += kTileThreads) diagonals[i] = 0.0f;

  for (int key0 = oldest; key0 <= newest; key0 += int(kTile)) {
    // Where this thread's row of keys and values is.
    const int key = key0 + int(row_in_tile(thread_index));
    const bool inside = key <= newest;
    device const T* key_row = k;
    device const T* value_row = v;
    if (inside && key >= 0) {
      const ulong token = ulong(b) * p.length + uint(key);
      key_row = k + token * p.k_stride + column;
      value_row = v + token * p.v_stride + column;
    } else if (inside) {
      const ulong row = ulong(slot) * p.window + (ulong(first) - ulong(-key)) % p.window;
      key_row = keys + row * columns + column;
      value_row = values + row * columns + column;
    }

    Product product;
    clear(product);
    for (uint c = 0; c < head_dim; c += kTile) {
      load_rows(left, queries + c, p.q_stride, tokens, head_dim - c, thread_index, p.scale);
      load_row(right, key_row + c, inside, head_dim - c, thread_index, 1.0f);
      threadgroup_barrier(mem_flags::mem_threadgroup);
      add_product<false, true>(product, left, right, simdgroup);
      threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    store_product(product, scores, simdgroup);
    threadgroup_barrier(mem_flags::mem_threadgroup);

    // The softmax so far: a simdgroup takes eight rows, a lane one key of each.
    UNROLL for (uint i = 0; i < kRows; ++i) {
      const uint row = simdgroup * kRows + i;
      const int t = int(t0 + row), seen = key0 + int(lane);
      const bool visible = row < tokens && seen <= t && seen > t - int(p.window);
      const float score = visible ? scores[row * kTileStride + lane] : kLowest;
      const float now = max(largest[i], simd_max(score));
      const float weight = visible ? precise::exp(score - now) : 0.0f;
      const float correction = precise::exp(largest[i] - now);
      total[i] = total[i] * correction + simd_sum(weight);
      largest[i] = now;
      scores[row * kTileStride + lane] = weight;
      if (lane == 0) diagonals[simdgroup * 64 + i * 9] = correction;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);

    UNROLL for (uint slice = 0; slice < kSlices; ++slice) {
      const uint c = slice * kTile;
      if (c >= head_dim) break;
      load_row(right, value_row + c, inside, head_dim - c, thread_index, 1.0f);
      threadgroup_barrier(mem_flags::mem_threadgroup);
      scale_rows(sums[slice], diagonals, simdgroup);
      add_product<false, false>(sums[slice], scores, right, simdgroup);
      threadgroup_barrier(mem_flags::mem_threadgroup);
    }
  }

  UNROLL for (uint i = 0; i < kRows; ++i) {
    if (lane == 0) diagonals[simdgroup * 64 + i * 9] = total[i] > 0.0f ? 1.0f / total[i] : 0.0f;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  device T* y = out + ((ulong(b) * p.length + t0) * p.heads + h) * head_dim;
  UNROLL for (uint slice = 0; slice < kSlices; ++slice) {
    const uint c = slice * kTile;
    if (c >= head_dim) break;
    scale_rows(sums[slice], diagonals, simdgroup);
    store_product(sums[slice], left, simdgroup);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    store_rows(left, y + c, ulong(p.heads) * head_dim, tokens, head_dim - c, thread_index);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
}

INSTANTIATE(attention_prefill, (float32, float16));
