// Parameters of quantized_embedding, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct QuantizedEmbeddingParams {
  uint32_t rows;        // tokens to look up (batch x length)
  uint32_t cols;        // d_model
  uint32_t vocabulary;  // rows of the table
  uint32_t mode;        // a QuantizedMode
  uint32_t bits;        // of a value
  uint32_t group_size;  // columns that share a scale, and a bias where there are biases
  float scale;          // of what is looked up
};
SSM_OPERATION(QuantizedEmbeddingParams, reads(tokens), looks_up(words), looks_up(scales),
              looks_up(biases, optional), writes(out));
