// out[r, c] = (x[r, c] - mean) * rsqrt(variance + eps) * w[c] + bias[c]
// where variance is the mean of (x[r, :] - mean)^2.
//
// Grid: one threadgroup a row, of up to 256 threads; a thread takes four columns at a time. The row
// is read three times, from cache after the first: the variance is computed after the mean, so that
// a row far from zero loses no digits. Threadgroup memory: one float a simdgroup.
#include <metal_stdlib>

#include "metal/common.h"
#include "metal/layer_norm.h"

SSM_CONSTANT(bool, has_bias);

// What is left of a row behind four columns that lie before its end is none of its variance.
ALWAYS_INLINE float4 centred(float4 v, float mean, uint count) {
  v -= mean;
  if (count < 4) v.w = 0.0f;
  if (count < 3) v.z = 0.0f;
  if (count < 2) v.y = 0.0f;
  return v;
}

template <class In, class Out>
[[kernel]] void layer_norm(device const In* x [[buffer(0)]],  // (rows, cols), rows x_stride apart
                           device const float* w [[buffer(1)]],                 // (cols)
                           SSM_OPTIONAL(has_bias, 2, device const float* bias)  // (cols)
                           device Out* out [[buffer(3)]],                       // (rows, cols)
                           constant LayerNormParams& p [[buffer(4)]],
                           threadgroup float* scratch [[threadgroup(0)]],  // (simdgroups)
                           uint row [[threadgroup_position_in_grid]],
                           uint thread_index [[thread_index_in_threadgroup]],
                           uint threads [[threads_per_threadgroup]],
                           uint lane [[thread_index_in_simdgroup]],
                           uint simdgroup [[simdgroup_index_in_threadgroup]],
                           uint simdgroups [[simdgroups_per_threadgroup]]) {
  SSM_ABSENT(has_bias, device const float* bias);
  device const In* xs = x + ulong(row) * p.x_stride;
  device Out* result = out + ulong(row) * p.cols;
  const float count = float(p.cols);
  float sum = 0.0f;
  for (uint c = 4 * thread_index; c < p.cols; c += 4 * threads) {
    sum += dot(load_some(xs + c, p.cols - c), float4(1.0f));
  }
  const float mean = threadgroup_sum(sum, scratch, lane, simdgroup, simdgroups) / count;
  float squares = 0.0f;
  for (uint c = 4 * thread_index; c < p.cols; c += 4 * threads) {
    const float4 v = centred(load_some(xs + c, p.cols - c), mean, p.cols - c);
    squares += dot(v, v);
  }
  const float variance = threadgroup_sum(squares, scratch, lane, simdgroup, simdgroups) / count;
  const float scale = precise::rsqrt(variance + p.eps);
  for (uint c = 4 * thread_index; c < p.cols; c += 4 * threads) {
    const uint left = p.cols - c;
    float4 v = (load_some(xs + c, left) - mean) * scale * load_some(w + c, left);
    if (has_bias) v += load_some(bias + c, left);
    store_some(result + c, v, left);
  }
}

// The types of x, then of out.
INSTANTIATE(layer_norm, (float32, float16), (float32, float16));
