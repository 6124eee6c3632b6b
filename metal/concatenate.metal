// out[r, :] = a[r, :] ‖ b[r, :]
//
// Grid: one threadgroup a row, of up to 256 threads; a thread takes four columns at a time.
#include <metal_stdlib>

#include "metal/common.h"
#include "metal/concatenate.h"

template <class T>
[[kernel]] void concatenate(device const T* a [[buffer(0)]],  // (rows, a_cols), rows a_stride apart
                            device const T* b [[buffer(1)]],  // (rows, b_cols), rows b_stride apart
                            device T* out [[buffer(2)]],      // (rows, a_cols + b_cols)
                            constant ConcatenateParams& p [[buffer(3)]],
                            uint row [[threadgroup_position_in_grid]],
                            uint thread_index [[thread_index_in_threadgroup]],
                            uint threads [[threads_per_threadgroup]]) {
  device const T* as = a + ulong(row) * p.a_stride;
  device const T* bs = b + ulong(row) * p.b_stride;
  device T* result = out + ulong(row) * (ulong(p.a_cols) + p.b_cols);
  for (uint c = 4 * thread_index; c < p.a_cols; c += 4 * threads) {
    store_some(result + c, load_some(as + c, p.a_cols - c), p.a_cols - c);
  }
  for (uint c = 4 * thread_index; c < p.b_cols; c += 4 * threads) {
    store_some(result + p.a_cols + c, load_some(bs + c, p.b_cols - c), p.b_cols - c);
  }
}

// The type of a, b and out.
INSTANTIATE(concatenate, (float32, float16));
