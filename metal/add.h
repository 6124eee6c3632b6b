// Parameters of add, written by the host, read by the kernel.
#pragma once
#include "metal/types.h"

struct AddParams {
  uint32_t count;  // elements of a, b and out
};
static_assert(sizeof(AddParams) == 4, "one layout for host and kernel");
