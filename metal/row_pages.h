// The pages of the sequence of one row, for kernels.
#pragma once
#include "metal/common.h"
#include "metal/pages.h"

// How many parts of `b` hold `a`.
inline uint ceil_divide(uint a, uint b) { return (a + b - 1) / b; }

// Whether the first `count` pages of a row exist, the same in every lane: otherwise there is
// nothing to do for it. The whole simdgroup calls it.
inline bool pages_exist(device const uint* row_pages, uint count, uint page_count, uint lane) {
  bool exist = true;
  for (uint i = lane; i < count; i += 32) exist = exist && row_pages[i] < page_count;
  return simd_all(exist);
}
