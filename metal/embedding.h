// Parameters of embedding, written by the host, read by the kernel.
#pragma once
#include "metal/types.h"

struct EmbeddingParams {
  uint32_t rows;        // tokens to look up (batch x length)
  uint32_t cols;        // d_model
  uint32_t vocabulary;  // rows of the table
};
static_assert(sizeof(EmbeddingParams) == 12, "one layout for host and kernel");
