// What the mat-mat kernels of matmul and quantized_matmul share beside tile_sums.h.
#pragma once
#include "metal/linear.h"
#include "metal/tile_sums.h"

// Where the tile is in the outputs, and how many rows and columns of them are left from there on.
struct TilePlace {
  uint row, col;
  uint rows, cols;
  uint outputs;  // of a row
};

inline TilePlace tile_place(uint2 tile, uint size, uint rows, uint outputs) {
  TilePlace place;
  place.row = tile.y * size;
  place.col = tile.x * size;
  place.rows = rows - place.row;
  place.cols = outputs - place.col;
  place.outputs = outputs;
  return place;
}

// Where the sums of a tile go.
template <class Out>
struct LinearStore {
  TilePlace place;
  device const float* scale;
  device const float* bias;
  device const Out* gate;
  device const Out* residual;
  device Out* out;

  void store(uint r, uint n, float sum) const {
    if (r >= place.rows || n >= place.cols) return;
    const ulong at = ulong(place.row + r) * place.outputs + place.col + n;
    store_linear(sum, place.col + n, at, scale, bias, gate, residual_of(residual, at), out);
  }
};

template <uint size, class Out>
inline void store_tile(thread TileSums<size>& sums, threadgroup float* memory, TilePlace place,
                       device const float* scale, device const float* bias, device const Out* gate,
                       device const Out* residual, device Out* out, uint thread_index,
                       uint simdgroup) {
  LinearStore<Out> to;
  to.place = place;
  to.scale = scale;
  to.bias = bias;
  to.gate = gate;
  to.residual = residual;
  to.out = out;
  store_sums(sums, memory, to, thread_index, simdgroup);
}
