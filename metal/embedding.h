// Parameters of embedding, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct EmbeddingParams {
  uint32_t rows;        // tokens to look up (batch x length)
  uint32_t cols;        // d_model
  uint32_t vocabulary;  // rows of the table
  float scale;
};
SSM_OPERATION(EmbeddingParams, reads(tokens), looks_up(table), writes(out));
