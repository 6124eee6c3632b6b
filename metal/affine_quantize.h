// Parameters of affine_quantize, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct AffineQuantizeParams {
  uint32_t rows;
  uint32_t cols;        // a multiple of group_size
  uint32_t bits;        // of a value: 4, 5, 6 or 8
  uint32_t group_size;  // 32, 64 or 128 values share a scale and a bias
};
SSM_OPERATION(AffineQuantizeParams, reads(weight), writes(words), writes(scales), writes(biases));
