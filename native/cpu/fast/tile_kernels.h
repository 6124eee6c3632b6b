// The matrix product of a tile: kTileRows rows of a times kTileCols columns of b, its sums in
// registers. Everything that multiplies matrices packs them for it:
//   a   (depth, kTileRows): for each k the numbers of all rows, or (kTileRows, depth) as it is
//   b   a panel (depth, kTileCols): for each k kTileVectors vectors of columns
#pragma once

#include "native/cpu/fast/vector.h"

namespace ssm::cpu::SSM_LEVEL {

// As many sums as registers allow beside one row of b and one number of a: 32 registers, but 16
// with AVX2.
inline constexpr size_t kTileRows = kWidth == 16 ? 14 : kWidth == 8 ? 6 : 8;
inline constexpr size_t kTileVectors = kWidth == 4 ? 3 : 2;
inline constexpr size_t kTileCols = kTileVectors * kWidth;

template <size_t kRows>
struct TileOf {
  Floats sums[kRows][kTileVectors];
};
using Tile = TileOf<kTileRows>;

// Calls body(row, vector) for all of a tile. Unrolled, because what stays in registers needs
// indices that are constant: gcc would keep the tile in memory.
template <size_t kRows = kTileRows, class Body>
SSM_INLINE void for_tile(Body body) {
#pragma GCC unroll 14
  for (size_t i = 0; i < kRows; ++i) {
#pragma GCC unroll 3
    for (size_t j = 0; j < kTileVectors; ++j) body(i, j);
  }
}

template <size_t kRows>
SSM_INLINE void clear(TileOf<kRows>& tile) {
  for_tile<kRows>([&](size_t i, size_t j)
                      __attribute__((always_inline)) { tile.sums[i][j] = Floats{}; });
}

// sums[i] += sum over k of a[i * row_step + k * depth_step] * b[k], one k after the other.
template <size_t kRows>
SSM_INLINE void add_product(TileOf<kRows>& tile, const float* a, size_t row_step, size_t depth_step,
                            const float* b, size_t depth) {
#pragma GCC unroll 4
  for (size_t k = 0; k < depth; ++k, a += depth_step, b += kTileCols) {
    Floats columns[kTileVectors];
#pragma GCC unroll 3
    for (size_t j = 0; j < kTileVectors; ++j) columns[j] = load(b + j * kWidth);
#pragma GCC unroll 14
    for (size_t i = 0; i < kRows; ++i) {
      const Floats row = splat(a[i * row_step]);
#pragma GCC unroll 3
      for (size_t j = 0; j < kTileVectors; ++j) tile.sums[i][j] += row * columns[j];
    }
  }
}

// a[0], b[0], a[1], b[1] and so on: the first vector of these.
template <class Vector>
SSM_INLINE Vector interleave_low(Vector a, Vector b) {
  if constexpr (kWidth == 16) {
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  } else if constexpr (kWidth == 8) {
    return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  } else {
    return __builtin_shufflevector(a, b, 0, 4, 1, 5);
  }
}

// The second one.
template <class Vector>
SSM_INLINE Vector interleave_high(Vector a, Vector b) {
  if constexpr (kWidth == 16) {
    return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15,
                                   31);
  } else if constexpr (kWidth == 8) {
    return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  } else {
    return __builtin_shufflevector(a, b, 2, 6, 3, 7);
  }
}

// The matrix of kWidth vectors of 32-bit elements, transposed. Each of log2(kWidth) rounds
// interleaves the first half of the vectors with the second, which rotates the bits of an element's
// (row, column) by one place.
template <class Vector>
SSM_INLINE void transpose(Vector (&v)[kWidth]) {
#pragma GCC unroll 4
  for (size_t round = 1; round < kWidth; round *= 2) {
    Vector next[kWidth];
#pragma GCC unroll 8
    for (size_t i = 0; i < kWidth / 2; ++i) {
      next[2 * i] = interleave_low(v[i], v[i + kWidth / 2]);
      next[2 * i + 1] = interleave_high(v[i], v[i + kWidth / 2]);
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < kWidth; ++i) v[i] = next[i];
  }
}

}  // namespace ssm::cpu::SSM_LEVEL
