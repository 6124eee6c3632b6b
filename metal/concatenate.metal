// out[r, :] = a[r, :] ‖ b[r, :]
//
// Grid: y a row, x four columns a thread, of a and of b; threadgroups of up to 256 threads.
#include <metal_stdlib>

#include "metal/common.h"
#include "metal/concatenate.h"

template <class T>
[[kernel]] void concatenate(device const T* a [[buffer(0)]],  // (rows, a_cols), rows a_stride apart
                            device const T* b [[buffer(1)]],  // (rows, b_cols), rows b_stride apart
                            device T* out [[buffer(2)]],      // (rows, a_cols + b_cols)
                            constant ConcatenateParams& p [[buffer(3)]],
                            uint2 at [[thread_position_in_grid]]) {
  const uint c = 4 * at.x;
  device T* result = out + ulong(at.y) * (ulong(p.a_cols) + p.b_cols);
  if (c < p.a_cols) {
    store_some(result + c, load_some(a + ulong(at.y) * p.a_stride + c, p.a_cols - c), p.a_cols - c);
  }
  if (c < p.b_cols) {
    store_some(result + p.a_cols + c, load_some(b + ulong(at.y) * p.b_stride + c, p.b_cols - c),
               p.b_cols - c);
  }
}

// The type of a, b and out.
INSTANTIATE(concatenate, (float32, float16));
