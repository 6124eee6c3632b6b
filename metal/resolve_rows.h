// Parameters of resolve_rows, written by the host, read by the kernel.
#pragma once
#include "metal/types.h"

struct ResolveRowsParams {
  uint32_t batch;
  uint32_t slots;
  uint32_t count;       // tokens that the list consumes of each row
  uint32_t has_tokens;  // whether the tokens of the rows are written too
};
static_assert(sizeof(ResolveRowsParams) == 16, "one layout for host and kernel");
