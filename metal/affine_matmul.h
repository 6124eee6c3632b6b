// Parameters of affine_matmul, written by the host, read by the kernel.
#pragma once
#include "types.h"

struct AffineMatmulParams {
  uint32_t rows;        // rows of x (batch x length)
  uint32_t inputs;      // columns of x; a multiple of group_size
  uint32_t outputs;     // rows of the weight, columns of out
  uint32_t x_stride;    // elements from one row of x to the next
  uint32_t bits;        // 4 or 8
  uint32_t group_size;  // 32, 64 or 128 values share a scale and a bias
  uint32_t has_bias;
};
static_assert(sizeof(AffineMatmulParams) == 28, "one layout for host and kernel");
