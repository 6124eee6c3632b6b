// Products of 32 x 32 tiles in threadgroup memory by 8 x 8 simdgroup matrices, in float32, for
// kernels whose operands are scaled or gathered on their way into a tile. Threadgroups have 128
// threads: 4 simdgroups, each of which computes 16 x 16 elements.
#pragma once
#include "metal/common.h"
#include "metal/tile_shape.h"

// Which part of a tile a thread loads: eight columns of one row.
inline uint row_in_tile(uint thread_index) { return thread_index / 4; }
inline uint column_in_tile(uint thread_index) { return thread_index % 4 * 8; }

// Loads this thread's part of a tile, times `scale`: `row` points at the first column of its row,
// of which `columns` are left. The rest, and the whole part unless `inside`, is filled with 0.
template <class T>
inline void load_row(threadgroup float* tile, device const T* row, bool inside, uint columns,
                     uint thread_index, float scale) {
  const uint column = column_in_tile(thread_index);
  threadgroup float4* to =
      (threadgroup float4*)(tile + row_in_tile(thread_index) * kTileStride + column);
  UNROLL for (uint i = 0; i < 2; ++i) {
    const uint c = column + 4 * i;
    to[i] = inside && c < columns ? scale * load_some(row + c, columns - c) : float4(0.0f);
  }
}

// Loads a tile from a matrix whose rows are `stride` elements apart; from `from` on, `rows` and
// `columns` are left.
template <class T>
inline void load_rows(threadgroup float* tile, device const T* from, ulong stride, uint rows,
                      uint columns, uint thread_index, float scale) {
  const uint row = row_in_tile(thread_index);
  load_row(tile, from + row * stride, row < rows, columns, thread_index, scale);
}

// The other way round.
template <class T>
inline void store_rows(threadgroup const float* tile, device T* to, ulong stride, uint rows,
                       uint columns, uint thread_index) {
  const uint row = row_in_tile(thread_index), column = column_in_tile(thread_index);
  threadgroup const float4* from = (threadgroup const float4*)(tile + row * kTileStride + column);
  UNROLL for (uint i = 0; i < 2; ++i) {
    const uint c = column + 4 * i;
    if (row < rows && c < columns) store_some(to + row * stride + c, from[i], columns - c);
  }
}

// A 32 x 32 sum of products. Simdgroup s holds the 16 x 16 elements from row 16 * (s / 2), column
// 16 * (s % 2) on.
struct Product {
  simdgroup_float8x8 part[2][2];
};

inline uint product_row(uint simdgroup) { return simdgroup / 2 * 16; }
inline uint product_column(uint simdgroup) { return simdgroup % 2 * 16; }

inline void clear(thread Product& c) {
  UNROLL for (uint i = 0; i < 2; ++i) {
    UNROLL for (uint j = 0; j < 2; ++j) c.part[i][j] =
        make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  }
}

// c += a . b, or with the transpose of a or b.
template <bool kTransposeA, bool kTransposeB>
inline void add_product(thread Product& c, threadgroup const float* a, threadgroup const float* b,
                        uint simdgroup) {
  const uint row = product_row(simdgroup), column = product_column(simdgroup);
  UNROLL for (uint k = 0; k < kTile; k += 8) {
    simdgroup_float8x8 left[2], right[2];
    UNROLL for (uint i = 0; i < 2; ++i) {
      const uint r = row + 8 * i, q = column + 8 * i;
      simdgroup_load(left[i], a + (kTransposeA ? k * kTileStride + r : r * kTileStride + k),
                     kTileStride, ulong2(0, 0), kTransposeA);
      simdgroup_load(right[i], b + (kTransposeB ? q * kTileStride + k : k * kTileStride + q),
                     kTileStride, ulong2(0, 0), kTransposeB);
    }
    UNROLL for (uint i = 0; i < 2; ++i) {
      UNROLL for (uint j = 0; j < 2; ++j) {
        simdgroup_multiply_accumulate(c.part[i][j], left[i], right[j], c.part[i][j]);
      }
    }
  }
}

// Multiplies each row of c by its own factor: `diagonals` are the four 8 x 8 diagonal matrices of
// the 32 factors. (Which lane holds which element of a simdgroup matrix is not documented.)
inline void scale_rows(thread Product& c, threadgroup const float* diagonals, uint simdgroup) {
  UNROLL for (uint i = 0; i < 2; ++i) {
    simdgroup_float8x8 factors;
    simdgroup_load(factors, diagonals + (product_row(simdgroup) / 8 + i) * 64, 8);
    UNROLL for (uint j = 0; j < 2; ++j) {
      simdgroup_float8x8 scaled;
      simdgroup_multiply(scaled, factors, c.part[i][j]);
      c.part[i][j] = scaled;
    }
  }
}

inline void store_product(thread Product& c, threadgroup float* tile, uint simdgroup) {
  threadgroup float* to = tile + product_row(simdgroup) * kTileStride + product_column(simdgroup);
  UNROLL for (uint i = 0; i < 2; ++i) {
    UNROLL for (uint j = 0; j < 2; ++j) {
      simdgroup_store(c.part[i][j], to + 8 * i * kTileStride + 8 * j, kTileStride);
    }
  }
}
