// Sizes that kernels on tiles (tile_product.h) and the host code that dispatches them share.
#pragma once
#include "metal/types.h"

enum TileShape : uint32_t {
  kTile = 32,
  kTileStride = 36,  // floats from row to row: spreads rows over the banks of the memory
  kTileBytes = kTile * kTileStride * 4,
  kTileThreads = 128,

  // The mat-mat kernels (linear_tile.h)
  kLargeTile = 64,

  // ssd_chunk_scan
  kLongestChunk = 64,
  kDecayBytes = 5 * kLongestChunk * 4,

  // delta_chunk_scan
  kKeyTiles = 8,  // of 32 columns of the state, at most
  // What delta_chunk_weights leaves of a head and a chunk of kLongestChunk tokens: two matrices
  // (64, 64), how the updates of tokens s enter those of tokens t and how they enter the outputs;
  kChunkMatrix = kLongestChunk * kLongestChunk,
  kChunkMatrices = 2 * kChunkMatrix,
  // and four numbers a token, and one for the state, at these places.
  kKeyFactors = 0,                    // of k where the state is asked what it holds for it
  kQueryFactors = kLongestChunk,      // of q where it reads the state
  kWriteFactors = 2 * kLongestChunk,  // of k where it is written
  kValueFactors = 3 * kLongestChunk,  // of v
  kForget = 4 * kLongestChunk,        // of the state
  kChunkFactors = 4 * kLongestChunk + 4,

  // attention
  kLargestHead = 256,
  kDecodeHeads = 2,  // query heads of a threadgroup of attention_decode, at most
  kDecodeKeys = 8,   // keys that a lane of attention_decode reads at once, at most
  kMostParts = 64,   // of the keys of a row of paged_attention_decode
  kDiagonalBytes = 4 * 8 * 8 * 4,
};

#ifndef __METAL_VERSION__
// Threadgroup memory of a mat-mat kernel for tiles of size x size outputs: kTile columns of as many
// rows of x and of the weight, and 16 bytes more from row to row.
constexpr uint32_t linear_tile_bytes(uint32_t size, uint32_t element_bytes) {
  return 2 * size * (kTile * element_bytes + 16);
}
#endif
