// Parameters of mlp_activation, written by the host, read by the kernel.
#pragma once
#include "metal/types.h"

struct MlpActivationParams {
  uint32_t count;       // elements of x, gate and out
  uint32_t activation;  // enum Activation
  uint32_t gated;       // 1: multiply by gate
};
static_assert(sizeof(MlpActivationParams) == 12, "one layout for host and kernel");
