// Parameters of resolve_rows, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct ResolveRowsParams {
  uint32_t batch;
  uint32_t slots;
  uint32_t count;       // tokens that the list consumes of each row
  uint32_t has_tokens;  // whether the tokens of the rows are written too
};
SSM_OPERATION(ResolveRowsParams, reads(slots), reads(remaining), reads(token),
              updates_slots(position), writes(rows), writes(positions), writes(tokens, optional));
