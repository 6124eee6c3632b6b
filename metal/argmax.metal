// out[r] = index of the largest x[r, :], of equal ones the first
//
// Grid: one threadgroup a row, of up to 1024 threads. Floats are compared as ordered integers
// (common.h), exactly and whatever the compiler assumes about NaN. Threadgroup memory: two words a
// simdgroup. A row that holds NaN gives 0xffffffff, which is no index.
#include <metal_stdlib>

#include "metal/argmax.h"
#include "metal/common.h"

template <class T>
[[kernel]] void argmax(device const T* x [[buffer(0)]],  // (rows, cols)
                       device uint* out [[buffer(1)]],   // (rows)
                       constant ArgmaxParams& p [[buffer(2)]],
                       threadgroup uint* scratch [[threadgroup(0)]],  // (simdgroups, 2)
                       uint row [[threadgroup_position_in_grid]],
                       uint thread_index [[thread_index_in_threadgroup]],
                       uint threads [[threads_per_threadgroup]],
                       uint lane [[thread_index_in_simdgroup]],
                       uint simdgroup [[simdgroup_index_in_threadgroup]],
                       uint simdgroups [[simdgroups_per_threadgroup]]) {
  device const T* xs = x + ulong(row) * p.cols;
  Largest best = {0, kNoIndex};
  for (uint c = thread_index; c < p.cols; c += threads) {
    const uint key = key_of(float(xs[c]));
    if (key > best.key) {
      best.key = key;
      best.index = c;
    }
  }
  best = threadgroup_largest(best, scratch, lane, simdgroup, simdgroups);
  if (thread_index == 0) out[row] = best.key == kKeyOfNan ? kNoIndex : best.index;
}

INSTANTIATE(argmax, (float32));
