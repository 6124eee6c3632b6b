// Parameters of norm_rows, written by the host, read by the kernel.
#pragma once
#include "metal/types.h"

struct NormRowsParams {
  uint32_t cols;
  uint32_t x_stride;    // elements from one row of x to the next
  uint32_t group_cols;  // columns that share one mean square; divides cols
  uint32_t parts;       // sums of squares of a row; 0: they are those of x
  float eps;
};
static_assert(sizeof(NormRowsParams) == 20, "one layout for host and kernel");
