// Parameters of cast, written by the host, read by the kernel.
#pragma once
#include "metal/types.h"

struct CastParams {
  uint32_t count;  // elements of x and out
};
static_assert(sizeof(CastParams) == 4, "one layout for host and kernel");
