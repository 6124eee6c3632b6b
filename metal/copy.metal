// out[i] = x[i], bit by bit
//
// Grid: four elements a thread; threadgroups of up to 256 threads.
#include <metal_stdlib>

#include "metal/common.h"
#include "metal/copy.h"

template <class T>
[[kernel]] void copy(device const T* x [[buffer(0)]],  // (count)
                     device T* out [[buffer(1)]],      // (count)
                     constant CopyParams& p [[buffer(2)]], uint at [[thread_position_in_grid]]) {
  for (uint j = 0; j < 4; ++j) {
    const ulong i = 4 * ulong(at) + j;
    if (i < p.count) out[i] = x[i];
  }
}

// The type that has the bits of an element.
INSTANTIATE(copy, (ushort, uint));
