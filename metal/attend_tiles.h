// The steps of attention of 32 tokens over blocks of 32 keys, which attention_prefill and
// paged_attention_prefill share: scores and outputs are products of simdgroup matrices; the softmax
// is online: when a row's largest score grows, the sums so far are scaled down, by a product with a
// diagonal matrix. 128 threads, threadgroup memory of three tiles and the diagonals.
#pragma once
#include "metal/tile_product.h"

SSM_CONSTANT(uint, head_dim);

constant constexpr uint kSlices = kLargestHead / kTile;  // of 32 columns of a head, at most
constant constexpr uint kRows = 8;                       // of a simdgroup, in the softmax
constant constexpr float kLowest = -3.4028235e38f;

// Scores of 32 queries and keys, the queries times the scale; all threads call it, each with its
// row of keys, and all can read the scores afterwards.
template <class T, class Stored>
ALWAYS_INLINE void find_scores(threadgroup float* scores, device const T* queries, uint q_stride,
                               float scale, uint tokens, device const Stored* key, bool inside,
                               threadgroup float* left, threadgroup float* right, uint thread_index,
                               uint simdgroup) {
  Product product;
  clear(product);
  for (uint c = 0; c < head_dim; c += kTile) {
    load_rows(left, queries + c, q_stride, tokens, head_dim - c, thread_index, scale);
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

// Before the first keys. `diagonals` are 0 outside of their diagonals from then on. A barrier must
// follow.
ALWAYS_INLINE void clear_sums(thread Product (&sums)[kSlices], thread Softmax& softmax,
                              threadgroup float* diagonals, uint thread_index) {
  UNROLL for (uint slice = 0; slice < kSlices; ++slice) clear(sums[slice]);
  UNROLL for (uint i = 0; i < kRows; ++i) {
    softmax.largest[i] = kLowest;
    softmax.total[i] = 0.0f;
  }
  for (uint i = thread_index; i < 4 * 8 * 8; i += kTileThreads) diagonals[i] = 0.0f;
}

// Takes the scores of 32 keys into the softmax: leaves weights in their place, and in `diagonals`
// by what earlier sums are to be multiplied. Row t sees keys from `newest` + t back, `window` of
// them. A simdgroup takes eight rows, a lane one key of each. A barrier must follow.
ALWAYS_INLINE void find_weights(thread Softmax& softmax, threadgroup float* scores,
                                threadgroup float* diagonals, uint tokens, int newest, int window,
                                uint simdgroup, uint lane) {
  UNROLL for (uint i = 0; i < kRows; ++i) {
    const uint row = simdgroup * kRows + i;
    const int last = newest + int(row), seen = int(lane);
    const bool visible = row < tokens && seen <= last && seen > last - window;
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

// Adds the values of 32 keys by their weights in `scores`; all threads call it, each with its row
// of values. A barrier must have followed find_weights; one has passed at the end.
template <class Stored>
ALWAYS_INLINE void add_values(thread Product (&sums)[kSlices], threadgroup const float* scores,
                              threadgroup const float* diagonals, device const Stored* value,
                              bool inside, threadgroup float* right, uint thread_index,
                              uint simdgroup) {
  UNROLL for (uint slice = 0; slice < kSlices; ++slice) {
    const uint c = slice * kTile;
    if (c >= head_dim) break;
    load_row(right, value + c, inside, head_dim - c, thread_index, 1.0f);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    scale_rows(sums[slice], diagonals, simdgroup);
    add_product<false, false>(sums[slice], scores, right, simdgroup);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
}

// Multiplies this thread's part of a tile by the sigmoid of its gates, rows `stride` elements
// apart.
template <class T>
ALWAYS_INLINE void gate_rows(threadgroup float* tile, device const T* gate, ulong stride, uint rows,
                             uint columns, uint thread_index) {
  const uint row = row_in_tile(thread_index), column = column_in_tile(thread_index);
  if (row >= rows) return;
  for (uint c = column; c < min(column + 8, columns); ++c) {
    tile[row * kTileStride + c] /= 1.0f + precise::exp(-float(gate[row * stride + c]));
  }
}

// Writes the sums of a tile of tokens, each divided by the sum of its weights, and gated unless
// `gate` is null, to y; rows lie y_stride and gate_stride elements apart. All threads call it.
template <class T>
ALWAYS_INLINE void store_outputs(thread Product (&sums)[kSlices], thread const Softmax& softmax,
                                 device T* y, ulong y_stride, device const T* gate,
                                 ulong gate_stride, uint tokens, threadgroup float* tile,
                                 threadgroup float* diagonals, uint thread_index, uint simdgroup,
                                 uint lane) {
  UNROLL for (uint i = 0; i < kRows; ++i) {
    const bool has_token = simdgroup * kRows + i < tokens;  // others have no keys, and no result
    const float factor = has_token ? 1.0f / softmax.total[i] : 0.0f;
    if (lane == 0) diagonals[simdgroup * 64 + i * 9] = factor;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  UNROLL for (uint slice = 0; slice < kSlices; ++slice) {
    const uint c = slice * kTile;
    if (c >= head_dim) break;
    scale_rows(sums[slice], diagonals, simdgroup);
    store_product(sums[slice], tile, simdgroup);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (gate) gate_rows(tile, gate + c, gate_stride, tokens, head_dim - c, thread_index);
    store_rows(tile, y + c, y_stride, tokens, head_dim - c, thread_index);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
}
