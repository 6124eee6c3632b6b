// What experts_matmat and quantized_experts_matmat share: the products of chunks with experts, in
// the tiles that group_experts makes, kExpertTile products by as many outputs.
//
// Grid: x tiles of outputs, y tiles of products, of which there may be fewer than the grid has room
// for: their threadgroups return at once. Threadgroups of kTileThreads; threadgroup memory
// linear_tile_bytes().
#pragma once
#include "metal/experts.h"
#include "metal/group_experts.h"
#include "metal/tile_sums.h"

static_assert(uint(kExpertTile) == uint(kTile), "products are as many as a tile has rows");

// The row of x of the product that this thread loads a part of, and whether there is one.
template <class In>
struct ExpertRow {
  device const In* x;
  bool inside;
};

template <class In, class Params>
inline ExpertRow<In> expert_row_of(device const In* x, device const uint* products,
                                   uint thread_index, constant Params& p) {
  const uint product = products[row_of_thread(thread_index)];
  ExpertRow<In> row;
  row.inside = product < p.rows;
  row.x = x + ulong(row.inside ? product / p.sharing : 0) * p.x_stride;
  return row;
}

// Where the sums of a tile go: rows are products.
template <class Out>
struct ExpertStore {
  device const uint* products;  // (kExpertTile)
  uint rows;                    // products that there are
  uint col, cols, outputs;      // the tile's first output, how many are left, and of a row
  device const Out* gate;
  device Out* out;

  void store(uint r, uint n, float sum) const {
    const uint product = products[r];
    if (product >= rows || n >= cols) return;
    store_output(sum, ulong(product) * outputs + col + n, gate, out);
  }
};

template <class Out, class Params>
inline void store_products(thread TileSums<kTile>& sums, threadgroup float* memory,
                           device const uint* products, uint col, device const Out* gate,
                           device Out* out, uint thread_index, uint simdgroup, constant Params& p) {
  ExpertStore<Out> to;
  to.products = products;
  to.rows = p.rows;
  to.col = col;
  to.cols = p.outputs - col;
  to.outputs = p.outputs;
  to.gate = gate;
  to.out = out;
  store_sums(sums, memory, to, thread_index, simdgroup);
}
