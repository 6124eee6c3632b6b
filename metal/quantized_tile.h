// Blocks of a quantised weight, for the mat-mat kernels (tile_sums.h).
#pragma once
#include "metal/quantized.h"
#include "metal/tile_sums.h"

// Loads this thread's part of a block of 32 rows, from column k of row n of the weight on, as
// numbers of the tile's type. It lies in one group.
template <class T, class Scale>
inline void load_quantized(threadgroup T* tile, device const uint* words,
                           device const Scale* scales, device const Scale* biases, ulong n, uint k,
                           uint inputs, uint group_size, uint thread_index) {
  const uint group_shift = ctz(group_size);  // a division would cost more
  const uint column = column_of_thread(thread_index), col = k + column;
  // Of groups of 16 the last block of a row may have half of its columns.
  const bool inside = mode != kNvfp4 || col < inputs;
  const Eight eight = load_eight(words + n * row_words(inputs), inside ? col : 0);
  const GroupNumbers numbers =
      numbers_of(scales, biases, n * (inputs >> group_shift) + (inside ? col >> group_shift : 0));
  threadgroup T* to = tile + row_of_thread(thread_index) * tile_stride<T>() + column;
  UNROLL for (uint i = 0; i < 2; ++i) {
    store4_in_tile(to + 4 * i, inside ? dequantized(eight, i, numbers) : float4(0.0f));
  }
}
