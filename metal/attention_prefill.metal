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

// Where the keys and values of a query head are: those of the chunk, and the ring before them.
template <class T>
struct Sources {
  device const T* k;       // token 0 of the chunk
  device const T* v;       // the same
  device const T* keys;    // the ring of the slot
  device const T* values;  // the same
  uint first;              // position of token 0
};

// The row of a key and of its value.
template <class T>
struct KeyRow {
  device const T* key;
  device const T* value;
};

// Of a key by its place relative to the chunk: those before it are negative.
template <class T>
ALWAYS_INLINE KeyRow<T> key_row(Sources<T> from, int key, constant AttentionPrefillParams& p) {
  KeyRow<T> row;
  if (key >= 0) {
    row.key = from.k + ulong(uint(key)) * p.k_stride;
    row.value = from.v + ulong(uint(key)) * p.v_stride;
  } else {
    const ulong at = (ulong(from.first) - ulong(-key)) % p.window * (p.kv_heads * head_dim);
    row.key = from.keys + at;
    row.value = from.values + at;
  }
  return row;
}

// Scores of 32 queries and keys, the queries times the scale; all threads call it, each with its
// row of keys, and all can read the scores afterwards.
template <class T>
ALWAYS_INLINE void find_scores(threadgroup float* scores, device const T* queries, uint tokens,
                               device const T* key, bool inside, threadgroup float* left,
                               threadgroup float* right, uint thread_index, uint simdgroup,
                               constant AttentionPrefillParams& p) {
  Product product;
  clear(product);
  for (uint c = 0; c < head_dim; c += kTile) {
    load_rows(left, queries + c, p.q_stride, tokens, head_dim - c, thread_index, p.scale);
    load_row(right, key + c, inside, head_dim - c, thread_index, 1.0f);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    add_product<false, true>(product, left, right, simdgroup);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  store_product(product, scores, simdgroup);
  threadgroup_barrier(mem_flags::mem_threadgroup);
}

// The softmax of the rows of a simdgroup so far, the same in every lane.
struct Softmax {
  float largest[kRows], total[kRows];
};

// Takes the scores of 32 keys from `key0` on into the softmax: leaves weights in their place, and
// in `diagonals` by what earlier sums are to be multiplied. A simdgroup takes eight rows, a lane
// one key of each. A barrier must follow.
ALWAYS_INLINE void find_weights(thread Softmax& softmax, threadgroup float* scores,
                                threadgroup float* diagonals, uint t0, uint tokens, int key0,
                                uint window, uint simdgroup, uint lane) {
  UNROLL for (uint i = 0; i < kRows; ++i) {
    const uint row = simdgroup * kRows + i;
    const int t = int(t0 + row), seen = key0 + int(lane);
    const bool visible = row < tokens && seen <= t && seen > t - int(window);
    const float score = visible ? scores[row * kTileStride + lane] : kLowest;
    const float now = max(softmax.largest[i], simd_max(score));
    const float weight = visible ? precise::exp(score - now) : 0.0f;
    const float correction = precise::exp(softmax.largest[i] - now);
    softmax.total[i] = softmax.total[i] * correction + simd_sum(weight);
    softmax.largest[i] = now;
    scores[row * kTileStride + lane] = weight;
    if (lane == 0) diagonals[simdgroup * 64 + i * 9] = correction;
  }
}

// Writes the sums of a tile of tokens, each divided by the sum of its weights, to y; all threads
// call it. `diagonals` are 0 outside of their diagonals.
template <class T>
ALWAYS_INLINE void store_outputs(thread Product (&sums)[kSlices], thread const Softmax& softmax,
                                 device T* y, uint tokens, threadgroup float* tile,
                                 threadgroup float* diagonals, uint thread_index, uint simdgroup,
                                 uint lane, constant AttentionPrefillParams& p) {
  UNROLL for (uint i = 0; i < kRows; ++i) {
    const float factor = softmax.total[i] > 0.0f ? 1.0f / softmax.total[i] : 0.0f;
    if (lane == 0) diagonals[simdgroup * 64 + i * 9] = factor;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  UNROLL for (uint slice = 0; slice < kSlices; ++slice) {
    const uint c = slice * kTile;
    if (c >= head_dim) break;
    scale_rows(sums[slice], diagonals, simdgroup);
    store_product(sums[slice], tile, simdgroup);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    store_rows(tile, y + c, ulong(p.heads) * head_dim, tokens, head_dim - c, thread_index);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
}

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
  const uint column = h / (p.heads / p.kv_heads) * head_dim;
  const ulong token = ulong(b) * p.length, ring = ulong(slot) * p.window * p.kv_heads * head_dim;
  device const T* queries = q + (ulong(b) * p.length + t0) * p.q_stride + h * head_dim;

  const uint first = position[b];
  const Sources<T> from = {k + token * p.k_stride + column, v + token * p.v_stride + column,
                           keys + ring + column, values + ring + column, first};
  const int oldest = max(int(t0) + 1 - int(p.window), -int(min(first, p.window)));
  const int newest = int(t0 + tokens) - 1;

  Product sums[kSlices];
  UNROLL for (uint slice = 0; slice < kSlices; ++slice) clear(sums[slice]);
  Softmax softmax;
  UNROLL for (uint i = 0; i < kRows; ++i) {
    softmax.largest[i] = kLowest;
    softmax.total[i] = 0.0f;
  }
  for (uint i = thread_index; i < 4 * 8 * 8; i += kTileThreads) diagonals[i] = 0.0f;

  for (int key0 = oldest; key0 <= newest; key0 += int(kTile)) {
    // This thread's row of keys and values.
    const int key = key0 + int(row_in_tile(thread_index));
    const bool inside = key <= newest;
    const KeyRow<T> row = key_row(from, inside ? key : 0, p);
    find_scores(scores, queries, tokens, row.key, inside, left, right, thread_index, simdgroup, p);
    find_weights(softmax, scores, diagonals, t0, tokens, key0, p.window, simdgroup, lane);
    threadgroup_barrier(mem_flags::mem_threadgroup);

    UNROLL for (uint slice = 0; slice < kSlices; ++slice) {
      const uint c = slice * kTile;
      if (c >= head_dim) break;
      load_row(right, row.value + c, inside, head_dim - c, thread_index, 1.0f);
      threadgroup_barrier(mem_flags::mem_threadgroup);
      scale_rows(sums[slice], diagonals, simdgroup);
      add_product<false, false>(sums[slice], scores, right, simdgroup);
      threadgroup_barrier(mem_flags::mem_threadgroup);
    }
  }

  device T* y = out + ((ulong(b) * p.length + t0) * p.heads + h) * head_dim;
  store_outputs(sums, softmax, y, tokens, left, diagonals, thread_index, simdgroup, lane, p);
}

INSTANTIATE(attention_prefill, (float32, float16));
