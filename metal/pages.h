// Pages of keys and values, of which a sequence has one for each kPagePositions of its positions.
// A table (slots, pages_per_slot) says which.
#pragma once
#include "metal/types.h"

enum Pages : uint32_t {
  kPagePositions = 256,
  // In place of a page: there is none. Kernels take every number that is no page for this one.
  kNoPage = 0xffffffff,
};
