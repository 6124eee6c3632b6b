// Parameters of keep_logits, written by the host, read by the kernel.
#pragma once
#include "metal/types.h"

struct KeepLogitsParams {
  uint32_t batch;
  uint32_t slots;
  uint32_t vocabulary;
};
static_assert(sizeof(KeepLogitsParams) == 12, "one layout for host and kernel");
