// Where the chunks of delta_chunk_scan lie.
#pragma once
#include "metal/common.h"
#include "metal/delta_chunk_scan.h"
#include "metal/tile_shape.h"

inline uint chunks_of(constant DeltaChunkScanParams& p) {
  return (p.length + kLongestChunk - 1) / kLongestChunk;
}

struct Chunk {
  uint length;  // tokens in it
  ulong token;  // its first one, counted through the batch
};

// Chunk i of sequence b.
inline Chunk chunk_at(uint i, uint b, constant DeltaChunkScanParams& p) {
  Chunk chunk;
  chunk.length = min(uint(kLongestChunk), p.length - i * kLongestChunk);
  chunk.token = ulong(b) * p.length + i * kLongestChunk;
  return chunk;
}

// Which part of the scratch memory is of head h in chunk i of sequence b.
inline ulong scratch_at(uint i, uint b, uint h, constant DeltaChunkScanParams& p) {
  return (ulong(b) * chunks_of(p) + i) * p.heads + h;
}
