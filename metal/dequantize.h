// Parameters of dequantize, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct DequantizeParams {
  uint32_t rows;
  uint32_t cols;        // a multiple of group_size
  uint32_t mode;        // a QuantizedMode
  uint32_t bits;        // of a value
  uint32_t group_size;  // columns that share a scale, and a bias where there are biases
};
SSM_OPERATION(DequantizeParams, reads(words), reads(scales), reads(biases, optional), writes(out));
