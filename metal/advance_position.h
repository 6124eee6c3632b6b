// Parameters of advance_position, written by the host, read by the kernel.
#pragma once
#include "types.h"

struct AdvancePositionParams {
  uint32_t batch;
  uint32_t count;  // tokens that the list has consumed
};
static_assert(sizeof(AdvancePositionParams) == 8, "one layout for host and kernel");
