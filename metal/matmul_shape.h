// How the mat-vec kernels of matmul and quantized_matmul, for steps, divide their work: what
// host and kernels must agree on. The tiles of the mat-mat kernels are in tile_shape.h.
#pragma once
#include "metal/types.h"

enum MatmulShape : uint32_t {
  kVectorRows = 8,     // rows of x in a block, at most
  kVectorOutputs = 4,  // of a simdgroup, at most
  kVectorReads = 8,    // of four words that a lane of quantized_matvec has under way, at most
};
