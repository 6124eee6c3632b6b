// Parameters of mlp_activation, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct MlpActivationParams {
  uint32_t rows;
  uint32_t cols;
  uint32_t x_stride;    // elements from one row of x to the next
  uint32_t activation;  // enum Activation
  uint32_t gated;       // 1: multiply by gate
};
SSM_OPERATION(MlpActivationParams, reads(x), reads(gate, optional), writes(out));
