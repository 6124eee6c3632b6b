// Parameters of cast, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct CastParams {
  uint32_t count;  // elements of x and out
};
SSM_OPERATION(CastParams, reads(x), writes(out));
