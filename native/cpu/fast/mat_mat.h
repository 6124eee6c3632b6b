// The matrix product of matmul and quantized_matmul for a chunk: in blocks that stay in cache, each
// computed by one thread.
#pragma once

#include <algorithm>
#include <cstddef>

#include "native/cpu/fast/kernels.h"
#include "native/cpu/fast/linear.h"
#include "native/cpu/fast/scratch.h"
#include "native/cpu/thread_pool.h"
#include "native/operation.h"

namespace ssm::cpu::fast {

// Packs rows `first` to `first + count` of x, a tile at most, to `packed` (fast/tile_kernels.h).
// `normed` has room for as many rows.
inline void pack_rows(const LinearInput& x, size_t first, size_t count, size_t inputs,
                      const Kernels& kernels, float* normed, float* packed) {
  if (!x.is_normed()) {
    return kernels.pack_rows(x.row(first), x.stride(), count, inputs, packed);
  }
  for (size_t i = 0; i < count; ++i) x.norm(first + i, kernels, normed + i * inputs);
  kernels.pack_rows(normed, inputs, count, inputs, packed);
}

// Rows of x at once: bounds the copy of x that is worked with.
inline constexpr size_t kMatMatRows = 512;
// Columns at once: a panel of them stays in the first-level cache.
inline constexpr size_t kMatMatDepth = 256;
// Kernels do about so many products in the time of one step of a plain loop.
inline constexpr size_t kMatMatSpeedup = 8;

// `rows` rows of x from `first` on as packed tiles, in scratch memory that all threads may read.
inline const float* pack_tiles(const LinearInput& x, size_t first, size_t rows, size_t inputs,
                               ThreadPool& threads, const Kernels& kernels) {
  const size_t tile = kernels.tile_rows, tiles = (rows + tile - 1) / tile;
  float* packed = scratch<Scratch::kShared>(tiles * tile * inputs);
  threads.parallel_for(tiles, tile * inputs, [&](size_t begin, size_t end) {
    float* normed = scratch<Scratch::kOwn>(tile * inputs);
    for (size_t t = begin; t < end; ++t) {
      pack_rows(x, first + t * tile, std::min(tile, rows - t * tile), inputs, kernels, normed,
                packed + t * tile * inputs);
    }
  });
  return packed;
}

// sums (tiles of rows, sums_stride) = `rows` rows in packed tiles times rows n to n + cols of the
// weight, which are packed to `panels`, kMatMatDepth columns at a time. `following`: rows behind
// them that the thread is likely to be asked for next.
template <class Weight>
void multiply_strip(const float* packed, size_t rows, const Weight& weight, size_t n, size_t cols,
                    size_t following, size_t inputs, float* panels, float* sums, size_t sums_stride,
                    const Kernels& kernels) {
  const size_t tile = kernels.tile_rows;
  for (size_t k = 0; k < inputs; k += kMatMatDepth) {
    const size_t depth = std::min(kMatMatDepth, inputs - k);
    weight.pack(n, cols, k, depth, panels);
    const size_t next = k + depth;
    const UpcomingRows upcoming =
        next < inputs
            ? weight.upcoming(n, cols, next, std::min(kMatMatDepth, inputs - next))
            : weight.upcoming(n + cols, following, 0, std::min<size_t>(kMatMatDepth, inputs));
    kernels.multiply_tiles(packed + k * tile, tile * inputs, rows, panels,
                           (cols + kernels.tile_cols - 1) / kernels.tile_cols, depth, sums,
                           sums_stride, k > 0, upcoming);
  }
}

// Multiplies all rows of x with a weight. `scale` is the number of the scale's buffer, as in
// LinearOutput.
// weight.pack(first, count, first_col, depth, packed) packs columns of rows of the weight
// (fast/mat_mat_kernels.h). Order of accumulation: blocks of kMatMatDepth columns, one product
// after the other in each, and the blocks one after the other.
template <class Params, class Weight>
void multiply_matrix(const Operation& operation, const Params& p, size_t scale, ThreadPool& threads,
                     const Kernels& kernels, const Weight& weight) {
  constexpr size_t kPanels = 8;    // in a block: its packed weights stay in the second-level cache
  constexpr size_t kFewRows = 96;  // fewer are not worth packing the same weights once more
  const LinearInput x(operation, p, scale + 2);
  const LinearOutput out(operation, p, scale);
  const size_t tile = kernels.tile_rows, inputs = p.inputs;
  const size_t block_cols = kPanels * kernels.tile_cols;
  const size_t blocks = (p.outputs + block_cols - 1) / block_cols;

  for (size_t first = 0; first < p.rows; first += kMatMatRows) {
    const size_t rows = std::min<size_t>(kMatMatRows, p.rows - first);
    const size_t tiles = (rows + tile - 1) / tile;
    const float* packed_rows = pack_tiles(x, first, rows, inputs, threads, kernels);

    // A weight with few rows gives few blocks: then rows of x are split as well.
    const size_t wanted = 3 * threads.threads();
    const size_t most = std::max<size_t>(1, rows / kFewRows);
    const size_t strips = std::clamp<size_t>((wanted + blocks - 1) / blocks, 1, most);
    const size_t strip = (tiles + strips - 1) / strips;  // tiles
    const size_t cost = strip * tile * inputs * block_cols / kMatMatSpeedup;
    threads.parallel_for(blocks * strips, cost, [&](size_t begin, size_t end) {
      const size_t sums_size = strip * tile * block_cols;
      float* sums = scratch<Scratch::kOwn>(sums_size + kMatMatDepth * block_cols);
      float* panels = sums + sums_size;  // a multiple of a cache line: block_cols is one
      for (size_t item = begin; item < end; ++item) {
        const size_t first_row = item % strips * strip * tile;
        if (first_row >= rows) continue;
        const size_t end_row = std::min(rows, first_row + strip * tile);
        const size_t n = item / strips * block_cols;
        const size_t cols = std::min<size_t>(block_cols, p.outputs - n);
        multiply_strip(packed_rows + first_row * inputs, end_row - first_row, weight, n, cols,
                       std::min<size_t>(block_cols, p.outputs - n - cols), inputs, panels, sums,
                       block_cols, kernels);
        for (size_t r = first_row; r < end_row; ++r) {
          out.finish(first + r, n, cols, sums + (r - first_row) * block_cols, kernels);
        }
      }
    });
  }
}

}  // namespace ssm::cpu::fast
