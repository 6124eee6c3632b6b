// Products of matrices in tiles, for the mat-mat kernels of matmul and of products with experts: in
// threadgroup memory, with elements of type T: half where activations are float16, else float. Sums
// are float32 in either case. A threadgroup of kTileThreads threads computes size x size outputs,
// where size is kTile or kLargeTile, from blocks of kTile columns of x and of the weight. Its four
// simdgroups stand two by two, and each computes a square of size / 2.
#pragma once
#include "metal/common.h"
#include "metal/tile_shape.h"

// The type of a tile's elements, by those of x and of the weight: half for x in float16, but float
// where the weight is float32, which half would round.
template <class In, class Weight>
struct TileElement {
  typedef float Type;
};
template <>
struct TileElement<half, half> {
  typedef half Type;
};
template <>
struct TileElement<half, bfloat> {
  typedef half Type;
};

// Elements from row to row of a tile: 16 bytes more than a block has, so that the eight rows of a
// simdgroup matrix lie in different banks of the memory.
template <class T>
constexpr uint tile_stride() {
  return kTile + 16 / sizeof(T);
}

inline void store4_in_tile(threadgroup float* p, float4 v) { *(threadgroup float4*)p = v; }
inline void store4_in_tile(threadgroup half* p, float4 v) { *(threadgroup half4*)p = half4(v); }

// Which part of 32 rows of a block a thread loads: eight columns of one row.
inline uint row_of_thread(uint thread_index) { return thread_index / 4; }
inline uint column_of_thread(uint thread_index) { return thread_index % 4 * 8; }

// Loads this thread's part of a row of a block, from its first column on, of which `columns` are
// left. The rest, and all of it unless `inside`, is filled with 0.
template <class T, class Source>
inline void load_part(threadgroup T* tile, uint row, device const Source* from, bool inside,
                      uint columns, uint thread_index) {
  const uint column = column_of_thread(thread_index);
  UNROLL for (uint c = column; c < column + 8; c += 4) {
    store4_in_tile(tile + row * tile_stride<T>() + c,
                   inside && c < columns ? load_some(from + c, columns - c) : float4(0.0f));
  }
}

// Loads a block of `size` rows, `stride` elements apart, of which `rows` and `columns` are left
// from `from` on. The rest is filled with 0.
template <class T, uint size, class Source>
inline void load_block(threadgroup T* tile, device const Source* from, ulong stride, uint rows,
                       uint columns, uint thread_index) {
  UNROLL for (uint i = 0; i < size / 32; ++i) {
    const uint row = row_of_thread(thread_index) + 32 * i;
    load_part(tile, row, from + row * stride, row < rows, columns, thread_index);
  }
}

// The sums of a simdgroup, as matrices of 8 x 8.
template <uint size>
struct TileSums {
  simdgroup_float8x8 part[size / 16][size / 16];
};

template <uint size>
inline void clear(thread TileSums<size>& sums) {
  UNROLL for (uint i = 0; i < size / 16; ++i) {
    UNROLL for (uint j = 0; j < size / 16; ++j) {
      sums.part[i][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
    }
  }
}

// sums += x . transpose of w, for a block of each.
template <class T, uint size>
inline void add_block(thread TileSums<size>& sums, threadgroup const T* x, threadgroup const T* w,
                      uint simdgroup) {
  constexpr uint kStride = tile_stride<T>();
  threadgroup const T* left = x + simdgroup / 2 * (size / 2) * kStride;
  threadgroup const T* right = w + simdgroup % 2 * (size / 2) * kStride;
  UNROLL for (uint k = 0; k < kTile; k += 8) {
    simdgroup_matrix<T, 8, 8> a[size / 16], b[size / 16];
    UNROLL for (uint i = 0; i < size / 16; ++i) {
      simdgroup_load(a[i], left + 8 * i * kStride + k, kStride);
      simdgroup_load(b[i], right + 8 * i * kStride + k, kStride, ulong2(0, 0), true);
    }
    UNROLL for (uint i = 0; i < size / 16; ++i) {
      UNROLL for (uint j = 0; j < size / 16; ++j) {
        simdgroup_multiply_accumulate(sums.part[i][j], a[i], b[j], sums.part[i][j]);
      }
    }
  }
}

// Hands each sum of a tile to `to.store(row, column, sum)`, 16 rows at a time: eight of each half.
// They go through `memory`, (16, size + 4), because which lane holds which element of a simdgroup
// matrix is not documented. Everyone has to be done with what was in this memory.
template <uint size, class Store>
inline void store_sums(thread TileSums<size>& sums, threadgroup float* memory,
                       thread const Store& to, uint thread_index, uint simdgroup) {
  constexpr uint kStride = size + 4;
  threadgroup float* own = memory + simdgroup / 2 * 8 * kStride + simdgroup % 2 * (size / 2);
  UNROLL for (uint i = 0; i < size / 16; ++i) {
    UNROLL for (uint j = 0; j < size / 16; ++j) {
      simdgroup_store(sums.part[i][j], own + 8 * j, kStride);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint e = thread_index; e < 16 * size; e += kTileThreads) {
      const uint stored = e / size, n = e % size;
      to.store(stored / 8 * (size / 2) + 8 * i + stored % 8, n, memory[stored * kStride + n]);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
}
