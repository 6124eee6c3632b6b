// out[i] = x[i], in another element type: round to nearest, ties to even
//
// Grid: four elements a thread; threadgroups of up to 256 threads.
#include <metal_stdlib>

#include "cast.h"
#include "common.h"

template <class From, class To>
[[kernel]] void cast(device const From* x [[buffer(0)]],  // (count)
                     device To* out [[buffer(1)]],        // (count)
                     constant CastParams& p [[buffer(2)]], uint at [[thread_position_in_grid]]) {
  const ulong i = 4 * ulong(at);
  if (i >= p.count) return;
  store_some(out + i, load_some(x + i, p.count - i), p.count - i);
}

// Named by the type of x, then of out.
INSTANTIATE("cast_float32_float32", cast<float, float>);
INSTANTIATE("cast_float32_float16", cast<float, half>);
INSTANTIATE("cast_float32_bfloat16", cast<float, bfloat>);
INSTANTIATE("cast_float16_float32", cast<half, float>);
INSTANTIATE("cast_float16_float16", cast<half, half>);
INSTANTIATE("cast_float16_bfloat16", cast<half, bfloat>);
INSTANTIATE("cast_bfloat16_float32", cast<bfloat, float>);
INSTANTIATE("cast_bfloat16_float16", cast<bfloat, half>);
INSTANTIATE("cast_bfloat16_bfloat16", cast<bfloat, bfloat>);
