// Parameters of keep_logits, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct KeepLogitsParams {
  uint32_t batch;
  uint32_t slots;
  uint32_t vocabulary;
};
SSM_OPERATION(KeepLogitsParams, reads(logits), reads(rows), updates_slots(kept));
