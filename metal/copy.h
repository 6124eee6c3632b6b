// Parameters of copy, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct CopyParams {
  uint32_t count;  // elements of x and out
};
SSM_OPERATION(CopyParams, reads(x), writes(out));
