// Parameters of affine_embedding, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct AffineEmbeddingParams {
  uint32_t rows;        // tokens to look up (batch x length)
  uint32_t cols;        // d_model
  uint32_t vocabulary;  // rows of the table
  uint32_t bits;        // 4 or 8
  uint32_t group_size;  // 32, 64 or 128 values share a scale and a bias
  float scale;          // of what is looked up
};
SSM_OPERATION(AffineEmbeddingParams, reads(tokens), looks_up(words), looks_up(scales),
              looks_up(biases), writes(out));
