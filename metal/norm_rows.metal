// The norm before a matrix product, into scratch memory, where the product's own kernel does not
// take it in: for chunks, and for groups whose ends quantised words straddle. The result is
// float16 where the product's tiles are (linear_tile.h), else float32.
//   out[r, c] = x[r, c] * rsqrt(sum of squares of the group / group_cols + eps) * w[c]
//
// Grid: one threadgroup a group (x) of a row (y), of up to 256 threads; a thread takes four columns
// at a time. x is read twice, the second time from cache. Threadgroup memory: one float a
// simdgroup.
#include <metal_stdlib>

#include "metal/common.h"
#include "metal/norm_rows.h"

SSM_CONSTANT(bool, by_squares);

template <class T, class Out>
[[kernel]] void norm_rows(device const T* x [[buffer(0)]],      // (rows, cols), rows x_stride apart
                          device const float* w [[buffer(1)]],  // (cols)
                          SSM_OPTIONAL(by_squares, 2, device const float* squares)  // (rows, parts)
                          device Out* out [[buffer(3)]],                            // (rows, cols)
                          constant NormRowsParams& p [[buffer(4)]],
                          threadgroup float* scratch [[threadgroup(0)]],  // (simdgroups)
                          uint2 at [[threadgroup_position_in_grid]],
                          uint thread_index [[thread_index_in_threadgroup]],
                          uint2 threads [[threads_per_threadgroup]],
                          uint lane [[thread_index_in_simdgroup]],
                          uint simdgroup [[simdgroup_index_in_threadgroup]],
                          uint simdgroups [[simdgroups_per_threadgroup]]) {
  SSM_ABSENT(by_squares, device const float* squares);
  const uint group = at.x, row = at.y, first = group * p.group_cols;
  device const T* xs = x + ulong(row) * p.x_stride + first;
  device const float* ws = w + first;
  device Out* result = out + ulong(row) * p.cols + first;
  float sum = 0.0f;
  if (by_squares) {
    const uint count = p.parts / (p.cols / p.group_cols);  // of a group
    device const float* given = squares + ulong(row) * p.parts + group * count;
    for (uint i = thread_index; i < count; i += threads.x) sum += given[i];
  } else {
    for (uint c = 4 * thread_index; c < p.group_cols; c += 4 * threads.x) {
      const float4 v = load_some(xs + c, p.group_cols - c);
      sum += dot(v, v);
    }
  }
  const float mean =
      threadgroup_sum(sum, scratch, lane, simdgroup, simdgroups) / float(p.group_cols);
  const float scale = precise::rsqrt(mean + p.eps);
  for (uint c = 4 * thread_index; c < p.group_cols; c += 4 * threads.x) {
    const uint left = p.group_cols - c;
    store_some(result + c, load_some(xs + c, left) * scale * load_some(ws + c, left), left);
  }
}

// The types of x and out.
INSTANTIATE(norm_rows, (float32, float16), (float32, float16));
