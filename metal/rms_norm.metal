// out[r, c] = x[r, c] * rsqrt(mean(x[r, :]^2) + eps) * w[c]
//
// Grid: one threadgroup a row, of up to 256 threads; a thread takes four columns at a time. The row
// is read twice, the second time from cache. Threadgroup memory: one float a simdgroup.
#include <metal_stdlib>

#include "metal/common.h"
#include "metal/rms_norm.h"

template <class In, class Out>
[[kernel]] void rms_norm(device const In* x [[buffer(0)]],     // (rows, cols), rows x_stride apart
                         device const float* w [[buffer(1)]],  // (cols)
                         device Out* out [[buffer(2)]],        // (rows, cols)
                         constant RmsNormParams& p [[buffer(3)]],
                         threadgroup float* scratch [[threadgroup(0)]],  // (simdgroups)
                         uint row [[threadgroup_position_in_grid]],
                         uint thread_index [[thread_index_in_threadgroup]],
                         uint threads [[threads_per_threadgroup]],
                         uint lane [[thread_index_in_simdgroup]],
                         uint simdgroup [[simdgroup_index_in_threadgroup]],
                         uint simdgroups [[simdgroups_per_threadgroup]]) {
  device const In* xs = x + ulong(row) * p.x_stride;
  device Out* result = out + ulong(row) * p.cols;
  float squares = 0.0f;
  for (uint c = 4 * thread_index; c < p.cols; c += 4 * threads) {
    const float4 v = load_some(xs + c, p.cols - c);
    squares += dot(v, v);
  }
  const float mean = threadgroup_sum(squares, scratch, lane, simdgroup, simdgroups) / float(p.cols);
  const float scale = precise::rsqrt(mean + p.eps);
  for (uint c = 4 * thread_index; c < p.cols; c += 4 * threads) {
    const float4 v = load_some(xs + c, p.cols - c) * scale * load_some(w + c, p.cols - c);
    store_some(result + c, v, p.cols - c);
  }
}

// The types of x, then of out.
INSTANTIATE(rms_norm, (float32, float16), (float32, float16));
