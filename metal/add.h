// Parameters of add, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct AddParams {
  uint32_t count;  // elements of a, b and out
};
SSM_OPERATION(AddParams, reads(a), reads(b), writes(out));
