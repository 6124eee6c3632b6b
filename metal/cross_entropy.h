// Parameters of cross_entropy, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct CrossEntropyParams {
  uint32_t rows;
  uint32_t vocabulary;
};
SSM_OPERATION(CrossEntropyParams, reads(logits), reads(targets), writes(out));
