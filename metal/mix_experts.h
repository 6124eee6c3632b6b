// Parameters of mix_experts, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct MixExpertsParams {
  uint32_t rows;    // tokens (batch x length)
  uint32_t chosen;  // experts of a token
  uint32_t cols;
  uint32_t has_residual;
  float scale;
};
SSM_OPERATION(MixExpertsParams, reads(x), reads(weights), reads(residual, optional), writes(out));
