// Parameters of layer_norm, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct LayerNormParams {
  uint32_t rows;
  uint32_t cols;
  uint32_t x_stride;  // elements from one row of x to the next
  uint32_t has_bias;
  float eps;
};
SSM_OPERATION(LayerNormParams, reads(x), reads(weight), reads(bias, optional), writes(out));
