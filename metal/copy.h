// Parameters of copy, written by the host, read by the kernel.
#pragma once
#include "metal/types.h"

struct CopyParams {
  uint32_t count;  // elements of x and out
};
static_assert(sizeof(CopyParams) == 4, "one layout for host and kernel");
