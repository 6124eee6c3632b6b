// Parameters of concatenate, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct ConcatenateParams {
  uint32_t rows;
  uint32_t a_cols;
  uint32_t b_cols;
  uint32_t a_stride;  // elements from one row of a to the next
  uint32_t b_stride;  // the same of b
};
SSM_OPERATION(ConcatenateParams, reads(a), reads(b), writes(out));
