// The Mamba-2 recurrence of ssd_update over many tokens, in the chunked SSD form (Dao and Gu,
// "Transformers are SSMs", 2024, section 6). With d[t] = step[t] * A[h] <= 0 and
// L[t, s] = exp(sum of d over s + 1 .. t), for the tokens of one chunk:
//   y[t] = L[t, before] * S C[t] + sum over s <= t of L[t, s] step[s] (C[t] . B[s]) x[s] + D x[t]
//   S    = L[last, before] * S   + sum over s of L[last, s] step[s] x[s] (outer) B[s]
// where S is the state in slot rows[b]; discrete: x[s] is not multiplied by step[s]. A row of the
// batch that has no slot does nothing. Four dispatches; the first two do not wait for each other:
//   ssd_chunk_scores   scores[t, s] = C[t] . B[s], once a group for all of its heads
//   ssd_chunk_states   what each chunk adds to the state, all chunks at once; and its decay
//   ssd_chunk_pass     from chunk to chunk: S before each chunk, and the state that the last leaves
//                      (ssd_chunk_pass.metal)
//   ssd_chunk_outputs  y, all chunks at once
// The three that are matrix products have threadgroups of 128 threads for a tile of 32 x 32, which
// walk the inner dimension in blocks of 32: 4 simdgroups of 16 x 16, as 2 x 2 matrices of 8 x 8.
// Tiles go through threadgroup memory, where missing rows and columns are zeros, so that every
// length, head_dim and d_state takes the same path, and scales are applied on the way in. The
// exponents are sums, never differences of running sums, which would lose digits when a head
// forgets fast: sums over runs of 8 tokens are put together (Decays).
// The state goes through device memory once a chunk, as the input of its outputs; that is the price
// of working on all chunks at once.
// Limits: no slot twice; chunks of at most 64 tokens, 128 threads, 11 KB of threadgroup memory.
#include <metal_stdlib>

#include "metal/chunk_decays.h"
#include "metal/ssd_chunk_scan.h"
#include "metal/tile_product.h"

struct Chunk {
  uint length;  // tokens in it
  ulong token;  // its first one, counted through the batch
  uint b;       // its row of the batch
};

// Chunk i, counted through the batch.
inline Chunk chunk_at(uint i, constant SsdChunkScanParams& p) {
  const uint chunks = (p.length + p.chunk_size - 1) / p.chunk_size;
  const uint first = i % chunks * p.chunk_size;
  Chunk chunk;
  chunk.length = min(p.chunk_size, p.length - first);
  chunk.b = i / chunks;
  chunk.token = ulong(chunk.b) * p.length + first;
  return chunk;
}

inline uint tiles(uint count) { return (count + kTile - 1) / kTile; }

template <class T>
inline void find_decays(Decays decays, device const T* dt, device const float* A,
                        device const float* dt_bias, Chunk chunk, uint h,
                        constant SsdChunkScanParams& p, uint t) {
  if (t < kLongestChunk) {
    float step = 0.0f, factor = 0.0f;
    if (t < chunk.length) {
      step =
          step_size(float(dt[(chunk.token + t) * p.dt_stride + h]), dt_bias[h], p.dt_min, p.dt_max);
      factor = p.discrete ? 1.0f : step;
    }
    decays.factor[t] = factor;
    decays.d[t] = step * A[h];
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  sum_decays(decays, t);
}

// Grid: threadgroups (tiles of t x s, groups, batch * chunks); tiles above the diagonal do nothing.
template <class T>
[[kernel]] void ssd_chunk_scores(
    device const T* B [[buffer(3)]],        // (batch, length, groups, d_state)
    device const T* C [[buffer(4)]],        // (batch, length, groups, d_state)
    device const uint* rows [[buffer(8)]],  // (batch): slots
    constant SsdChunkScanParams& p [[buffer(10)]],
    device float* scores [[buffer(11)]],          // (batch, chunks, groups, chunk_size, chunk_size)
    threadgroup float* left [[threadgroup(0)]],   // (32, 36)
    threadgroup float* right [[threadgroup(1)]],  // (32, 36)
    uint3 group [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  const Chunk chunk = chunk_at(group.z, p);
  const uint across = tiles(p.chunk_size);
  const uint t0 = group.x / across * kTile, s0 = group.x % across * kTile, g = group.y;
  if (s0 > t0 || t0 >= chunk.length || rows[chunk.b] >= p.slots) return;  // the whole threadgroup
  device const T* Cs = C + (chunk.token + t0) * p.c_stride + g * p.d_state;
  device const T* Bs = B + (chunk.token + s0) * p.b_stride + g * p.d_state;

  Product product;
  clear(product);
  for (uint n0 = 0; n0 < p.d_state; n0 += kTile) {
    load_rows(left, Cs + n0, p.c_stride, chunk.length - t0, p.d_state - n0, thread_index, 1.0f);
    load_rows(right, Bs + n0, p.b_stride, chunk.length - s0, p.d_state - n0, thread_index, 1.0f);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    add_product<false, true>(product, left, right, simdgroup);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  store_product(product, left, simdgroup);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  device float* to = scores + (ulong(group.z) * p.groups + g) * p.chunk_size * p.chunk_size;
  store_rows(left, to + t0 * p.chunk_size + s0, p.chunk_size, chunk.length - t0, chunk.length - s0,
             thread_index);
}

INSTANTIATE(ssd_chunk_scores, (float32, float16));

// Grid: threadgroups (tiles of head_dim x d_state, heads, batch * chunks).
template <class T>
[[kernel]] void ssd_chunk_states(
    device const T* x [[buffer(0)]],            // (batch, length, heads, head_dim)
    device const T* dt [[buffer(1)]],           // (batch, length, heads)
    device const float* A [[buffer(2)]],        // (heads), negative
    device const T* B [[buffer(3)]],            // (batch, length, groups, d_state)
    device const float* dt_bias [[buffer(6)]],  // (heads)
    device const uint* rows [[buffer(8)]],      // (batch): slots
    constant SsdChunkScanParams& p [[buffer(10)]],
    device float* states [[buffer(12)]],  // (batch, chunks, heads, head_dim, d_state)
    device float* decay [[buffer(13)]],   // (batch, chunks, heads): of the state over the chunk
    threadgroup float* left [[threadgroup(0)]],    // (32, 36)
    threadgroup float* right [[threadgroup(1)]],   // (32, 36)
    threadgroup float* memory [[threadgroup(2)]],  // (5, 64)
    uint3 group [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  const Chunk chunk = chunk_at(group.z, p);
  if (rows[chunk.b] >= p.slots) return;  // the whole threadgroup
  const uint across = tiles(p.d_state);
  const uint row0 = group.x / across * kTile, n0 = group.x % across * kTile, h = group.y;
  const ulong i = ulong(group.z) * p.heads + h;
  const Decays decays = decays_in(memory);
  find_decays(decays, dt, A, dt_bias, chunk, h, p, thread_index);
  if (thread_index < kLongestChunk) {
    const uint s = thread_index;
    decays.scales[s] = precise::exp(sum_after(decays, s)) * decays.factor[s];
  }
  if (group.x == 0 && thread_index == 0) {
    decay[i] = precise::exp(sum_of_runs(decays, 0, kLongestChunk / kRun));
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  device const T* xs = x + chunk.token * p.x_stride + h * p.head_dim + row0;
  device const T* Bs = B + chunk.token * p.b_stride + h / (p.heads / p.groups) * p.d_state + n0;

  Product product;
  clear(product);
  for (uint s0 = 0; s0 < chunk.length; s0 += kTile) {
    load_rows(left, xs + ulong(s0) * p.x_stride, p.x_stride, chunk.length - s0, p.head_dim - row0,
              thread_index, decays.scales[s0 + row_in_tile(thread_index)]);
    load_rows(right, Bs + ulong(s0) * p.b_stride, p.b_stride, chunk.length - s0, p.d_state - n0,
              thread_index, 1.0f);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    add_product<true, false>(product, left, right, simdgroup);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  store_product(product, left, simdgroup);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  store_rows(left, states + (i * p.head_dim + row0) * p.d_state + n0, p.d_state, p.head_dim - row0,
             p.d_state - n0, thread_index);
}

INSTANTIATE(ssd_chunk_states, (float32, float16));

// What the state before the chunk gives, to tokens t0 and on and rows of S, of which `rows` are
// left.
template <class T>
ALWAYS_INLINE void add_carried(thread Product& product, device const T* C, device const float* S,
                               Decays decays, uint t0, uint tokens, uint rows,
                               threadgroup float* left, threadgroup float* right, uint thread_index,
                               uint simdgroup, constant SsdChunkScanParams& p) {
  for (uint n0 = 0; n0 < p.d_state; n0 += kTile) {
    load_rows(left, C + n0, p.c_stride, tokens, p.d_state - n0, thread_index,
              decays.scales[t0 + row_in_tile(thread_index)]);
    load_rows(right, S + n0, p.d_state, rows, p.d_state - n0, thread_index, 1.0f);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    add_product<false, true>(product, left, right, simdgroup);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
}

// Weights of tokens s0 and on for tokens t0 and on, as a tile. A thread makes those of one token s
// for one run. `skip`: D of the head. A barrier must follow.
ALWAYS_INLINE void make_weights(threadgroup float* tile, device const float* scores, Decays decays,
                                uint t0, uint s0, uint length, uint chunk_size, float skip,
                                uint thread_index) {
  const uint column = thread_index % kTile, run = t0 / kRun + thread_index / kTile;
  const uint s = s0 + column;
  float sum = 0.0f;  // of d over s + 1 .. t
  if (s / kRun < run) sum = decays.after[s] + sum_of_runs(decays, s / kRun + 1, run);
  for (uint t = run * kRun; t < (run + 1) * kRun; ++t) {
    if (t > s) sum += decays.d[t];
    float weight = 0.0f;
    if (t >= s && t < length) {
      weight = precise::exp(sum) * decays.factor[s] * scores[t * chunk_size + s];
      if (t == s) weight += skip;
    }
    tile[(t - t0) * kTileStride + column] = weight;
  }
}

// Grid: threadgroups (tiles of chunk_size x head_dim, heads, batch * chunks).
template <class T>
[[kernel]] void ssd_chunk_outputs(
    device const T* x [[buffer(0)]],            // (batch, length, heads, head_dim)
    device const T* dt [[buffer(1)]],           // (batch, length, heads)
    device const float* A [[buffer(2)]],        // (heads), negative
    device const T* C [[buffer(4)]],            // (batch, length, groups, d_state)
    device const float* D [[buffer(5)]],        // (heads)
    device const float* dt_bias [[buffer(6)]],  // (heads)
    device const uint* rows [[buffer(8)]],      // (batch): slots
    device T* out [[buffer(9)]],                // (batch, length, heads, head_dim)
    constant SsdChunkScanParams& p [[buffer(10)]],
    device const float* scores [[buffer(11)]],    // (batch, chunks, groups, chunk_size, chunk_size)
    device const float* states [[buffer(12)]],    // (batch, chunks, heads, head_dim, d_state)
    threadgroup float* left [[threadgroup(0)]],   // (32, 36)
    threadgroup float* right [[threadgroup(1)]],  // (32, 36)
    threadgroup float* memory [[threadgroup(2)]],  // (5, 64)
    uint3 group [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  const Chunk chunk = chunk_at(group.z, p);
  const uint across = tiles(p.head_dim);
  const uint t0 = group.x / across * kTile, row0 = group.x % across * kTile, h = group.y;
  if (t0 >= chunk.length || rows[chunk.b] >= p.slots) return;  // the whole threadgroup
  const uint g = h / (p.heads / p.groups);
  const uint height = p.head_dim - row0;
  const Decays decays = decays_in(memory);
  find_decays(decays, dt, A, dt_bias, chunk, h, p, thread_index);
  if (thread_index < kLongestChunk) {
    const uint t = thread_index;
    decays.scales[t] = precise::exp(sum_before(decays, t));
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  Product product;
  clear(product);

  device const T* Cs = C + (chunk.token + t0) * p.c_stride + g * p.d_state;
  device const float* S = states + ((ulong(group.z) * p.heads + h) * p.head_dim + row0) * p.d_state;
  add_carried(product, Cs, S, decays, t0, chunk.length - t0, height, left, right, thread_index,
              simdgroup, p);

  // What the tokens of the chunk give.
  device const T* xs = x + chunk.token * p.x_stride + h * p.head_dim + row0;
  device const float* CB = scores + (ulong(group.z) * p.groups + g) * p.chunk_size * p.chunk_size;
  for (uint s0 = 0; s0 <= t0; s0 += kTile) {
    make_weights(left, CB, decays, t0, s0, chunk.length, p.chunk_size, D[h], thread_index);
    load_rows(right, xs + ulong(s0) * p.x_stride, p.x_stride, chunk.length - s0, height,
              thread_index, 1.0f);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    add_product<false, false>(product, left, right, simdgroup);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }

  store_product(product, left, simdgroup);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  store_rows(left, out + ((chunk.token + t0) * p.heads + h) * p.head_dim + row0,
             p.heads * p.head_dim, chunk.length - t0, height, thread_index);
}

INSTANTIATE(ssd_chunk_outputs, (float32, float16));
