// out[i] = x[i], in another element type: round to nearest, ties to even
//
// Grid: four elements a thread; threadgroups of up to 256 threads.
#include <metal_stdlib>

#include "metal/cast.h"
#include "metal/common.h"

template <class From, class To>
[[kernel]] void cast(device const From* x [[buffer(0)]],  // (count)
                     device To* out [[buffer(1)]],        // (count)
                     constant CastParams& p [[buffer(2)]], uint at [[thread_position_in_grid]]) {
  const ulong i = 4 * ulong(at);
  if (i >= p.count) return;
  store_some(out + i, load_some(x + i, p.count - i), p.count - i);
}

INSTANTIATE(cast, (float32, float16, bfloat16), (float32, float16, bfloat16));
