// Parameters of rms_norm, written by the host, read by the kernel.
#pragma once
#include "metal/types.h"

struct RmsNormParams {
  uint32_t rows;
  uint32_t cols;
  uint32_t x_stride;  // elements from one row of x to the next
  float eps;
};
static_assert(sizeof(RmsNormParams) == 16, "one layout for host and kernel");
