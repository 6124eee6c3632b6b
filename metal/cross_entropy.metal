// out[r] = log(sum over v of exp(logits[r, v])) - logits[r, targets[r]]
// The negative log-likelihood of the target, in nats.
//
// Grid: one threadgroup a row, of up to 1024 threads, which sum in float32: first the largest
// logit, then the sum relative to it. Threadgroup memory: two words a simdgroup.
//
// Limits: a target outside the vocabulary reads the last logit, so that no memory outside the row
// is read: the host checks the ids before they get here. NaN gives NaN.
#include <metal_stdlib>

#include "metal/common.h"
#include "metal/cross_entropy.h"

template <class T>
[[kernel]] void cross_entropy(device const T* logits [[buffer(0)]],      // (rows, vocabulary)
                              device const uint* targets [[buffer(1)]],  // (rows)
                              device float* out [[buffer(2)]],           // (rows)
                              constant CrossEntropyParams& p [[buffer(3)]],
                              threadgroup uint* scratch [[threadgroup(0)]],  // (simdgroups, 2)
                              uint row [[threadgroup_position_in_grid]],
                              uint thread_index [[thread_index_in_threadgroup]],
                              uint threads [[threads_per_threadgroup]],
                              uint lane [[thread_index_in_simdgroup]],
                              uint simdgroup [[simdgroup_index_in_threadgroup]],
                              uint simdgroups [[simdgroups_per_threadgroup]]) {
  device const T* xs = logits + ulong(row) * p.vocabulary;
  Largest best = {0, 0xffffffffu};
  for (uint v = thread_index; v < p.vocabulary; v += threads) {
    const Largest here = {key_of(float(xs[v])), v};
    best = larger(best, here);
  }
  best = threadgroup_largest(best, scratch, lane, simdgroup, simdgroups);
  const float largest = float(xs[best.index]);
  float sum = 0.0f;
  for (uint v = thread_index; v < p.vocabulary; v += threads) {
    sum += precise::exp(float(xs[v]) - largest);
  }
  sum = threadgroup_sum(sum, (threadgroup float*)scratch, lane, simdgroup, simdgroups);
  const uint target = min(targets[row], p.vocabulary - 1);
  if (thread_index == 0) out[row] = largest - float(xs[target]) + precise::log(sum);
}

INSTANTIATE(cross_entropy, (float32));
