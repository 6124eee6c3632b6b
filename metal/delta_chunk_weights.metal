// The first of the two dispatches of delta_chunk_scan (delta_chunk_scan.metal): what the tokens of
// a chunk do to one another, for all chunks at once. With beta[t] = sigmoid(b[t]), d[t] = A[h]
// softplus(a[t] + dt_bias[h]) <= 0, D[t, s] = exp(sum of d over s + 1 .. t), q and k of the length
// that they should have, and L[t, s] = beta[t] D[t, s] (k[t] . k[s]) for s < t:
//   updates[t, s] = -L[t, s], but the inverse of I + L in each 8 x 8 block on the diagonal
//   outputs[t, s] = D[t, s] (q[t] . k[s]) for s <= t
// and the factors of single tokens that TileShape lists. Beyond the last token of a chunk all
// are 0, but for ones on the diagonal of `updates`.
//
// Grid: threadgroups (tiles of t x s, heads, batch * chunks) of 128 threads; tiles above the
// diagonal do nothing. Lengths of q and k are found on the way, as sums of squares of what each
// thread loads. Limits: 16 KB of threadgroup memory.
#include <metal_stdlib>

#include "metal/chunk_decays.h"
#include "metal/delta_chunk.h"
#include "metal/tile_product.h"

constant constexpr uint kBlock = 8;  // rows of the blocks that are inverted

// Each thread adds up the squares of its part of a tile.
inline float squares_in(threadgroup const float* tile, uint thread_index) {
  threadgroup const float4* part =
      (threadgroup const float4*)(tile + row_in_tile(thread_index) * kTileStride +
                                  column_in_tile(thread_index));
  return dot(part[0], part[0]) + dot(part[1], part[1]);
}

// One over the length of the thread's row, from the squares of the four threads that load it. A
// whole simdgroup.
inline float over_length(float squares, float eps) {
  float sum = squares + simd_shuffle_xor(squares, 1);
  sum += simd_shuffle_xor(sum, 2);
  return precise::rsqrt(sum + eps);
}

// `factor` of the decays is beta.
template <class T>
inline void find_gates(Decays decays, device const T* b, device const T* a, device const float* A,
                       device const float* dt_bias, Chunk chunk, uint h,
                       constant DeltaChunkScanParams& p, uint t) {
  if (t < kLongestChunk) {
    float beta = 0.0f, d = 0.0f;
    if (t < chunk.length) {
      beta = sigmoid(float(b[(chunk.token + t) * p.b_stride + h]));
      d = A[h] * softplus(float(a[(chunk.token + t) * p.a_stride + h]) + dt_bias[h]);
    }
    decays.factor[t] = beta;
    decays.d[t] = d;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  sum_decays(decays, t);
}

// One over the lengths of 32 tokens' k and q, and of the k of the tokens that stand against them.
struct Lengths {
  threadgroup float* key;      // (32) of t
  threadgroup float* query;    // (32) of t
  threadgroup float* against;  // (32) of s
};

// Turns the products k[t] . k[s] and q[t] . k[s] of a tile into what the tokens do to one another.
// A thread does so for one token s and one run of tokens t. A barrier must follow.
ALWAYS_INLINE void weigh(threadgroup float* keys, threadgroup float* queries, Decays decays,
                         Lengths lengths, uint t0, uint s0, uint length, float scale,
                         uint thread_index) {
  const uint column = thread_index % kTile, run = t0 / kRun + thread_index / kTile;
  const uint s = s0 + column;
  float sum = 0.0f;  // of d over s + 1 .. t
  if (s / kRun < run) sum = decays.after[s] + sum_of_runs(decays, s / kRun + 1, run);
  for (uint t = run * kRun; t < (run + 1) * kRun; ++t) {
    if (t > s) sum += decays.d[t];
    const uint row = t - t0, at = row * kTileStride + column;
    const float decay = precise::exp(sum) * lengths.against[column];
    const float of_key = -decays.factor[t] * lengths.key[row] * decay * keys[at];
    const float of_query = scale * lengths.query[row] * decay * queries[at];
    keys[at] = s < t && t < length ? of_key : 0.0f;
    queries[at] = s <= t && t < length ? of_query : 0.0f;
  }
}

// Column `column` of the inverse of I - block, whose rows are kTileStride apart: row i of it is the
// sum over j < i of block[i, j] times row j.
struct Column {
  float row[kBlock];
};
ALWAYS_INLINE void invert_column(threadgroup const float* block, uint column,
                                 thread Column& inverse) {
  UNROLL for (uint i = 0; i < kBlock; ++i) {
    float sum = i == column ? 1.0f : 0.0f;
    UNROLL for (uint j = 0; j < i; ++j) sum += block[i * kTileStride + j] * inverse.row[j];
    inverse.row[i] = sum;
  }
}

// The blocks on the diagonal of a tile become their inverses. A barrier must follow.
ALWAYS_INLINE void invert_blocks(threadgroup float* tile, uint thread_index) {
  const uint block = thread_index / kBlock, column = thread_index % kBlock;
  threadgroup float* at = tile + block * kBlock * (kTileStride + 1);
  Column inverse;
  if (thread_index < kTile) invert_column(at, column, inverse);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (thread_index < kTile) {
    UNROLL for (uint i = 0; i < kBlock; ++i) at[i * kTileStride + column] = inverse.row[i];
  }
}

// Factors of the tokens from t0 on, a thread each, and that of the state.
ALWAYS_INLINE void write_factors(device float* factors, Decays decays, Lengths lengths, uint t0,
                                 float scale, uint thread_index) {
  if (thread_index < kTile) {
    const uint t = t0 + thread_index;
    const float carried = precise::exp(sum_before(decays, t));
    const float key = lengths.key[thread_index];
    factors[kKeyFactors + t] = -decays.factor[t] * carried * key;
    factors[kQueryFactors + t] = scale * carried * lengths.query[thread_index];
    factors[kWriteFactors + t] = precise::exp(sum_after(decays, t)) * key;
    factors[kValueFactors + t] = decays.factor[t];
  } else if (t0 == 0 && thread_index == kTile) {
    factors[kForget] = precise::exp(sum_of_runs(decays, 0, kLongestChunk / kRun));
  }
}

template <class T>
[[kernel]] void delta_chunk_weights(
    device const T* q [[buffer(0)]],            // (batch, length, key_heads, key_dim)
    device const T* k [[buffer(1)]],            // (batch, length, key_heads, key_dim)
    device const T* b [[buffer(3)]],            // (batch, length, heads)
    device const T* a [[buffer(4)]],            // (batch, length, heads)
    device const float* A [[buffer(5)]],        // (heads), negative
    device const float* dt_bias [[buffer(6)]],  // (heads)
    device const uint* rows [[buffer(8)]],      // (batch): slots
    constant DeltaChunkScanParams& p [[buffer(10)]],
    device float* weights [[buffer(11)]],  // (batch, chunks, heads, 2, 64, 64): updates, outputs
    device float* factors [[buffer(12)]],  // (batch, chunks, heads, kChunkFactors)
    threadgroup float* left [[threadgroup(0)]],     // (32, 36)
    threadgroup float* queries [[threadgroup(1)]],  // (32, 36)
    threadgroup float* right [[threadgroup(2)]],    // (32, 36)
    threadgroup float* memory [[threadgroup(3)]],   // (5, 64) | (3, 32)
    uint3 group [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  constexpr uint across = kLongestChunk / kTile;
  const uint t0 = group.x / across * kTile, s0 = group.x % across * kTile, h = group.y;
  const uint i = group.z % chunks_of(p), sequence = group.z / chunks_of(p);
  const Chunk chunk = chunk_at(i, sequence, p);
  if (s0 > t0 || t0 >= chunk.length || rows[sequence] >= p.slots) return;  // all threads
  const uint key_head = h / (p.heads / p.key_heads);
  const ulong offset = key_head * p.key_dim;
  const Decays decays = decays_in(memory);
  find_gates(decays, b, a, A, dt_bias, chunk, h, p, thread_index);

  Product with_keys, with_queries;
  clear(with_keys);
  clear(with_queries);
  float key_squares = 0.0f, query_squares = 0.0f, against_squares = 0.0f;
  for (uint n0 = 0; n0 < p.key_dim; n0 += kTile) {
    const uint columns = p.key_dim - n0;
    load_rows(left, k + (chunk.token + t0) * p.k_stride + offset + n0, p.k_stride,
              chunk.length - t0, columns, thread_index, 1.0f);
    load_rows(queries, q + (chunk.token + t0) * p.q_stride + offset + n0, p.q_stride,
              chunk.length - t0, columns, thread_index, 1.0f);
    load_rows(right, k + (chunk.token + s0) * p.k_stride + offset + n0, p.k_stride,
              chunk.length - s0, columns, thread_index, 1.0f);
    key_squares += squares_in(left, thread_index);
    query_squares += squares_in(queries, thread_index);
    against_squares += squares_in(right, thread_index);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    add_product<false, true>(with_keys, left, right, simdgroup);
    add_product<false, true>(with_queries, queries, right, simdgroup);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  Lengths lengths;
  lengths.key = memory + 5 * kLongestChunk;
  lengths.query = lengths.key + kTile;
  lengths.against = lengths.query + kTile;
  const float key = over_length(key_squares, p.eps), query = over_length(query_squares, p.eps);
  const float against = over_length(against_squares, p.eps);
  if (column_in_tile(thread_index) == 0) {
    const uint row = row_in_tile(thread_index);
    lengths.key[row] = key;
    lengths.query[row] = query;
    lengths.against[row] = against;
  }
  store_product(with_keys, left, simdgroup);
  store_product(with_queries, queries, simdgroup);
  threadgroup_barrier(mem_flags::mem_threadgroup);

  weigh(left, queries, decays, lengths, t0, s0, chunk.length, p.scale, thread_index);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const ulong at = scratch_at(i, sequence, h, p);
  if (t0 == s0) {
    invert_blocks(left, thread_index);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    write_factors(factors + at * kChunkFactors, decays, lengths, t0, p.scale, thread_index);
  }
  device float* to = weights + at * kChunkMatrices + t0 * kLongestChunk + s0;
  store_rows(left, to, kLongestChunk, kTile, kTile, thread_index);
  store_rows(queries, to + kChunkMatrix, kLongestChunk, kTile, kTile, thread_index);
}

INSTANTIATE(delta_chunk_weights, (float32, float16));
