// The gated delta rule of delta_update over many tokens, in chunks of 64. With S the state before a
// chunk, in slot rows[b] of state, and beta, D and L of delta_chunk_weights.metal, what the tokens
// add to the state is U of a triangular system (Yang and others, "Parallelizing linear transformers
// with the delta rule", 2024; "Gated delta networks", 2024, section 3.3):
//   (I + L) U = beta (V - D[t, before] K Sᵀ)
//   out[t] = D[t, before] S q[t] + sum over s <= t of D[t, s] (q[t] . k[s]) U[s]
//   S      = D[last, before] S + sum over s of D[last, s] U[s] (outer) k[s]
// A row of the batch that has no slot does nothing. Two dispatches:
//   delta_chunk_weights   what depends on q, k and the gates alone, for all chunks at once
//   delta_chunk_scan      the rest, from chunk to chunk
//
// Grid of this one: threadgroups (32 values, heads, batch) of 128 threads. Each of the 4 simdgroups
// has 8 values of the state, transposed, in registers from the first chunk to the last, as matrices
// of 8 keys x 8 values; and the same 8 columns of V, U and out. So simdgroups share the tiles of K
// and Q, which all threads load into threadgroup memory, each row times its factor; and nothing
// else. The system is solved in blocks of 8 tokens: what earlier blocks give is a product, and the
// inverse of the block on the diagonal is in the scratch memory.
// Rows and columns that are missing are zeros in every tile, so that every length, key_dim and
// value_dim takes the same path. Limits: key_dim at most 256; 128 threads, 24 KB of threadgroup
// memory; no slot twice.
#include <metal_stdlib>

#include "metal/delta_chunk.h"
#include "metal/tile_product.h"

// Tiles of 32 keys.
SSM_CONSTANT(uint, key_tiles);

constant constexpr uint kBlocks = kTile / 8;  // of 8 rows in a tile

// The 8 x 8 matrices of a simdgroup: key blocks of its 8 values.
struct State {
  simdgroup_float8x8 block[kKeyTiles * kBlocks];
};
// Four of them, one below the other: 32 tokens.
struct Tokens {
  simdgroup_float8x8 block[kBlocks];
};

// What a threadgroup works on, and where.
struct Slab {
  threadgroup float* values;   // (32, 36): V, then out
  threadgroup float* keys;     // (32, 36)
  threadgroup float* queries;  // (32, 36)
  threadgroup float* updates;  // (64, 36): U
  threadgroup float* forget;   // (8, 8): what the chunk leaves of the state, on the diagonal
  uint column;                 // of the simdgroup's values in a tile
  uint thread_index;
};

// The state (value_dim, key_dim) from value v0 on, of which `left` are left, through a tile.
ALWAYS_INLINE void load_state(thread State& state, device const float* S, uint left, Slab slab,
                              uint key_dim) {
  UNROLL for (uint tile = 0; tile < key_tiles; ++tile) {
    load_rows(slab.keys, S + tile * kTile, key_dim, left, key_dim - tile * kTile, slab.thread_index,
              1.0f);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    UNROLL for (uint i = 0; i < kBlocks; ++i) {
      simdgroup_load(state.block[tile * kBlocks + i], slab.keys + slab.column * kTileStride + 8 * i,
                     kTileStride, ulong2(0, 0), true);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
}
ALWAYS_INLINE void store_state(thread State& state, device float* S, uint left, Slab slab,
                               uint key_dim) {
  UNROLL for (uint tile = 0; tile < key_tiles; ++tile) {
    UNROLL for (uint i = 0; i < kBlocks; ++i) {
      simdgroup_store(state.block[tile * kBlocks + i],
                      slab.keys + slab.column * kTileStride + 8 * i, kTileStride, ulong2(0, 0),
                      true);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    store_rows(slab.keys, S + tile * kTile, key_dim, left, key_dim - tile * kTile,
               slab.thread_index);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
}

// rest += K Sᵀ and out += Q Sᵀ for 32 tokens, of which `left` are left. All threads; barriers are
// its own.
template <class T>
ALWAYS_INLINE void read_state(thread State& state, thread Tokens& rest, thread Tokens& out,
                              device const T* k, device const T* q, uint left, float key_factor,
                              float query_factor, Slab slab, constant DeltaChunkScanParams& p) {
  UNROLL for (uint tile = 0; tile < key_tiles; ++tile) {
    const uint n0 = tile * kTile;
    load_rows(slab.keys, k + n0, p.k_stride, left, p.key_dim - n0, slab.thread_index, key_factor);
    load_rows(slab.queries, q + n0, p.q_stride, left, p.key_dim - n0, slab.thread_index,
              query_factor);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    UNROLL for (uint i = 0; i < kBlocks; ++i) {
      UNROLL for (uint t = 0; t < kBlocks; ++t) {
        simdgroup_float8x8 key, query;
        simdgroup_load(key, slab.keys + 8 * t * kTileStride + 8 * i, kTileStride);
        simdgroup_load(query, slab.queries + 8 * t * kTileStride + 8 * i, kTileStride);
        simdgroup_multiply_accumulate(rest.block[t], key, state.block[tile * kBlocks + i],
                                      rest.block[t]);
        simdgroup_multiply_accumulate(out.block[t], query, state.block[tile * kBlocks + i],
                                      out.block[t]);
      }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
}

// From the right side of the system for the 32 tokens from t0 on to their U and out, which go into
// threadgroup memory. A simdgroup by itself; `weights`: of the chunk.
ALWAYS_INLINE void solve(thread Tokens& rest, thread Tokens& out, device const float* weights,
                         uint t0, Slab slab) {
  UNROLL for (uint t = 0; t < kBlocks; ++t) {
    const uint row = t0 + 8 * t;
    device const float* of_updates = weights + row * kLongestChunk;
    device const float* of_outputs = of_updates + kChunkMatrix;
    simdgroup_float8x8 weight, update;
    for (uint s = 0; s < row; s += 8) {
      simdgroup_load(update, slab.updates + s * kTileStride + slab.column, kTileStride);
      simdgroup_load(weight, of_updates + s, kLongestChunk);
      simdgroup_multiply_accumulate(rest.block[t], weight, update, rest.block[t]);
      simdgroup_load(weight, of_outputs + s, kLongestChunk);
      simdgroup_multiply_accumulate(out.block[t], weight, update, out.block[t]);
    }
    simdgroup_load(weight, of_updates + row, kLongestChunk);
    simdgroup_multiply(update, weight, rest.block[t]);
    simdgroup_store(update, slab.updates + row * kTileStride + slab.column, kTileStride);
    simdgroup_load(weight, of_outputs + row, kLongestChunk);
    simdgroup_multiply_accumulate(out.block[t], weight, update, out.block[t]);
    simdgroup_store(out.block[t], slab.values + 8 * t * kTileStride + slab.column, kTileStride);
    simdgroup_barrier(mem_flags::mem_threadgroup);  // the next block reads this one's U
  }
}

// S = forget S, transposed.
ALWAYS_INLINE void forget_state(thread State& state, Slab slab) {
  simdgroup_float8x8 factor;
  simdgroup_load(factor, slab.forget, 8);
  UNROLL for (uint i = 0; i < key_tiles * kBlocks; ++i) {
    simdgroup_float8x8 scaled;
    simdgroup_multiply(scaled, factor, state.block[i]);
    state.block[i] = scaled;
  }
}

// S += Kᵀ U, transposed, for the 32 tokens from t0 on, of which `left` are left. All threads;
// barriers are its own.
template <class T>
ALWAYS_INLINE void write_state(thread State& state, device const T* k, uint t0, uint left,
                               float factor, Slab slab, constant DeltaChunkScanParams& p) {
  Tokens updates;
  UNROLL for (uint t = 0; t < kBlocks; ++t) {
    simdgroup_load(updates.block[t], slab.updates + (t0 + 8 * t) * kTileStride + slab.column,
                   kTileStride);
  }
  UNROLL for (uint tile = 0; tile < key_tiles; ++tile) {
    const uint n0 = tile * kTile;
    load_rows(slab.keys, k + n0, p.k_stride, left, p.key_dim - n0, slab.thread_index, factor);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    UNROLL for (uint i = 0; i < kBlocks; ++i) {
      UNROLL for (uint t = 0; t < kBlocks; ++t) {
        simdgroup_float8x8 key;
        simdgroup_load(key, slab.keys + 8 * t * kTileStride + 8 * i, kTileStride, ulong2(0, 0),
                       true);
        simdgroup_multiply_accumulate(state.block[tile * kBlocks + i], key, updates.block[t],
                                      state.block[tile * kBlocks + i]);
      }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
}

template <class T>
[[kernel]] void delta_chunk_scan(
    device const T* q [[buffer(0)]],        // (batch, length, key_heads, key_dim)
    device const T* k [[buffer(1)]],        // (batch, length, key_heads, key_dim)
    device const T* v [[buffer(2)]],        // (batch, length, heads, value_dim)
    device float* state [[buffer(7)]],      // (slots, heads, value_dim, key_dim)
    device const uint* rows [[buffer(8)]],  // (batch): slots
    device T* out [[buffer(9)]],            // (batch, length, heads, value_dim)
    constant DeltaChunkScanParams& p [[buffer(10)]],
    device const float* weights [[buffer(11)]],     // (batch, chunks, heads, 2, 64, 64)
    device const float* factors [[buffer(12)]],     // (batch, chunks, heads, kChunkFactors)
    threadgroup float* values [[threadgroup(0)]],   // (32, 36)
    threadgroup float* keys [[threadgroup(1)]],     // (32, 36)
    threadgroup float* queries [[threadgroup(2)]],  // (32, 36)
    threadgroup float* updates [[threadgroup(3)]],  // (64, 36)
    threadgroup float* forget [[threadgroup(4)]],   // (8, 8)
    uint3 group [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  const uint v0 = group.x * kTile, h = group.y, sequence = group.z, slot = rows[sequence];
  if (slot >= p.slots) return;  // the whole threadgroup
  const uint left = p.value_dim - v0, key_head = h / (p.heads / p.key_heads);
  const uint row = row_in_tile(thread_index);
  Slab slab;
  slab.values = values;
  slab.keys = keys;
  slab.queries = queries;
  slab.updates = updates;
  slab.forget = forget;
  slab.column = 8 * simdgroup;
  slab.thread_index = thread_index;
  device float* S = state + ((ulong(slot) * p.heads + h) * p.value_dim + v0) * p.key_dim;
  State held;
  load_state(held, S, left, slab, p.key_dim);

  for (uint i = 0; i < chunks_of(p); ++i) {
    const Chunk chunk = chunk_at(i, sequence, p);
    const ulong at = scratch_at(i, sequence, h, p);
    device const float* factor = factors + at * kChunkFactors;
    device const T* ks = k + chunk.token * p.k_stride + key_head * p.key_dim;
    device const T* qs = q + chunk.token * p.q_stride + key_head * p.key_dim;
    device const T* vs = v + chunk.token * p.v_stride + h * p.value_dim + v0;
    device T* to = out + (chunk.token * p.heads + h) * p.value_dim + v0;
    if (thread_index < 64) {
      forget[thread_index] = thread_index % 9 == 0 ? factor[kForget] : 0.0f;
    }
    for (uint t0 = 0; t0 < chunk.length; t0 += kTile) {
      const uint tokens = chunk.length - t0;
      load_rows(values, vs + ulong(t0) * p.v_stride, p.v_stride, tokens, left, thread_index,
                factor[kValueFactors + t0 + row]);
      threadgroup_barrier(mem_flags::mem_threadgroup);
      Tokens rest, outputs;
      UNROLL for (uint t = 0; t < kBlocks; ++t) {
        simdgroup_load(rest.block[t], values + 8 * t * kTileStride + slab.column, kTileStride);
        outputs.block[t] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
      }
      read_state(held, rest, outputs, ks + ulong(t0) * p.k_stride, qs + ulong(t0) * p.q_stride,
                 tokens, factor[kKeyFactors + t0 + row], factor[kQueryFactors + t0 + row], slab, p);
      solve(rest, outputs, weights + at * kChunkMatrices, t0, slab);
      threadgroup_barrier(mem_flags::mem_threadgroup);
      store_rows(values, to + ulong(t0) * p.heads * p.value_dim, ulong(p.heads) * p.value_dim,
                 tokens, left, thread_index);
      threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    forget_state(held, slab);
    for (uint t0 = 0; t0 < chunk.length; t0 += kTile) {
      write_state(held, ks + ulong(t0) * p.k_stride, t0, chunk.length - t0,
                  factor[kWriteFactors + t0 + row], slab, p);
    }
  }
  store_state(held, S, left, slab, p.key_dim);
}

INSTANTIATE(delta_chunk_scan, (float32, float16));
