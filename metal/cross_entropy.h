// Parameters of cross_entropy, written by the host, read by the kernel.
#pragma once
#include "metal/types.h"

struct CrossEntropyParams {
  uint32_t rows;
  uint32_t vocabulary;
};
static_assert(sizeof(CrossEntropyParams) == 8, "one layout for host and kernel");
