// out[i] = a[i] + b[i]
//
// Grid: four elements a thread; threadgroups of up to 256 threads.
#include <metal_stdlib>

#include "metal/add.h"
#include "metal/common.h"

template <class T>
[[kernel]] void add(device const T* a [[buffer(0)]],  // (count)
                    device const T* b [[buffer(1)]],  // (count)
                    device T* out [[buffer(2)]],      // (count); may be a or b
                    constant AddParams& p [[buffer(3)]], uint at [[thread_position_in_grid]]) {
  const ulong i = 4 * ulong(at);
  if (i >= p.count) return;
  store_some(out + i, load_some(a + i, p.count - i) + load_some(b + i, p.count - i), p.count - i);
}

INSTANTIATE(add, (float32, float16));
