// Parameters of gated_rms_norm, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct GatedRmsNormParams {
  uint32_t rows;
  uint32_t cols;
  uint32_t group_cols;        // columns that share one mean square; divides cols
  uint32_t x_stride;          // elements from one row of x to the next
  uint32_t z_stride;          // the same for z
  uint32_t norm_before_gate;  // 1: rms(x) * w * silu(z); 0: rms(x * silu(z)) * w
  float eps;
};
SSM_OPERATION(GatedRmsNormParams, reads(x), reads(z), reads(weight), writes(out));
