// The norm between the scan and out_proj of a Mamba-2 layer, in either order:
//   norm_before_gate 0: out = rms(x * silu(z)) * w        1: out = rms(x) * w * silu(z)
// where rms divides by the root mean square of each group of `group_cols` columns.
//
// Grid: one threadgroup a group (x) of a row (y), of up to 256 threads; a thread takes four columns
// at a time. x and z are read twice, the second time from cache; a thread writes only what it alone
// has read, so that out may be x. Threadgroup memory: one float a simdgroup.
#include <metal_stdlib>

#include "metal/common.h"
#include "metal/gated_rms_norm.h"

template <class T>
[[kernel]] void gated_rms_norm(
    device const T* x [[buffer(0)]],      // (rows, cols), rows x_stride apart
    device const T* z [[buffer(1)]],      // (rows, cols), rows z_stride apart
    device const float* w [[buffer(2)]],  // (cols)
    device T* out [[buffer(3)]],          // (rows, cols); may be x
    constant GatedRmsNormParams& p [[buffer(4)]],
    threadgroup float* scratch [[threadgroup(0)]],  // (simdgroups)
    uint2 at [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
    uint2 threads [[threads_per_threadgroup]], uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  const uint first = at.x * p.group_cols;
  device const T* xs = x + ulong(at.y) * p.x_stride + first;
  device const T* zs = z + ulong(at.y) * p.z_stride + first;
  device const float* ws = w + first;
  device T* result = out + ulong(at.y) * p.cols + first;
  float squares = 0.0f;
  for (uint c = 4 * thread_index; c < p.group_cols; c += 4 * threads.x) {
    float4 v = load_some(xs + c, p.group_cols - c);
    if (!p.norm_before_gate) v *= silu(load_some(zs + c, p.group_cols - c));
    squares += dot(v, v);
  }
  const float mean =
      threadgroup_sum(squares, scratch, lane, simdgroup, simdgroups) / float(p.group_cols);
  const float scale = precise::rsqrt(mean + p.eps);
  for (uint c = 4 * thread_index; c < p.group_cols; c += 4 * threads.x) {
    const uint left = p.group_cols - c;
    const float4 gated = load_some(xs + c, left) * silu(load_some(zs + c, left));
    const float4 v = gated * scale * load_some(ws + c, left);
    store_some(result + c, v, left);
  }
}

INSTANTIATE(gated_rms_norm, (float32, float16));
