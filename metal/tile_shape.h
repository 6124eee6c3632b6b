// Sizes that kernels on tiles (tile_product.h) and the host code that dispatches them share.
#pragma once
#include "types.h"

enum TileShape : uint32_t {
  kTile = 32,
  kTileStride = 36,  // floats from row to row: spreads rows over the banks of the memory
  kTileBytes = kTile * kTileStride * 4,
  kTileThreads = 128,

  // ssd_chunk_scan
  kLongestChunk = 64,
  kDecayBytes = 5 * kLongestChunk * 4,

  // attention
  kLargestHead = 256,
  kKeySplit = 256,  // keys of a threadgroup of attention_decode, in blocks
  kKeyBlock = 32,   // keys that a threadgroup of attention_decode looks at together
  kKeyColumns = 64,
  kKeyStride = 65,  // floats from key to key: lanes read a column without conflicts
  kKeyBytes = kKeyBlock * kKeyStride * 4,
  kDiagonalBytes = 4 * 8 * 8 * 4,
};
