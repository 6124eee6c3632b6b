// Parameters of rms_norm, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct RmsNormParams {
  uint32_t rows;
  uint32_t cols;
  uint32_t x_stride;  // elements from one row of x to the next
  float eps;
};
SSM_OPERATION(RmsNormParams, reads(x), reads(weight), writes(out));
