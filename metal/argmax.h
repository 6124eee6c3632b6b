// Parameters of argmax, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

// Of a row that holds NaN.
enum : uint32_t { kNoIndex = 0xffffffff };

struct ArgmaxParams {
  uint32_t rows;
  uint32_t cols;
};
SSM_OPERATION(ArgmaxParams, reads(x), writes(out));
