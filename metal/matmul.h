// Parameters of matmul, written by the host, read by the kernel.
#pragma once
#include "types.h"

struct MatmulParams {
  uint32_t rows;      // rows of x (batch x length)
  uint32_t inputs;    // columns of x and of the weight
  uint32_t outputs;   // rows of the weight, columns of out
  uint32_t x_stride;  // elements from one row of x to the next
  uint32_t has_bias;
};
static_assert(sizeof(MatmulParams) == 20, "one layout for host and kernel");
