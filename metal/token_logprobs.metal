// Log-probabilities of the token that a slot has drawn last and of the most probable ones:
//   reported[s, 0] = token[s]; reported[s, 1 ...] = the tokens with the largest logits, the largest
//   first, of equal ones the one with the smaller id
//   logprobs[s, i] = x[reported[s, i]] - log(sum over v of exp(x[v]))
// with s = rows[b] and x the logits as the model gave them: logits[b], or kept[s] where none are
// given. selection[s].alternatives is k + 1 for k alternatives. Places beyond them, and beyond the
// vocabulary, stay as they are; so does everything of a slot that asks for nothing.
//
// Grid: one threadgroup a row, of up to 1024 threads, which sum in float32; their number depends on
// the vocabulary alone, so a row's result does not depend on the others. Each alternative is a
// pass that looks for the largest one after the one before it. Threadgroup memory: two words a
// simdgroup.
//
// Limits: no slot twice. With NaN among the logits, which draw no token, the results are of no use.
#include <metal_stdlib>

#include "metal/common.h"
#include "metal/token_logprobs.h"

SSM_CONSTANT(bool, has_logits);

template <class T>
[[kernel]] void token_logprobs(
    SSM_OPTIONAL(has_logits, 0, device const T* logits)     // (batch, vocabulary)
    device const uint* rows [[buffer(1)]],                  // (batch): slots
    device const SampleSelection* selection [[buffer(2)]],  // (slots)
    device const uint* token [[buffer(3)]],                 // (slots)
    device const T* kept [[buffer(4)]],                     // (slots, vocabulary)
    device uint* reported [[buffer(5)]],                    // (slots, places)
    device float* logprobs [[buffer(6)]],                   // (slots, places)
    constant TokenLogprobsParams& p [[buffer(7)]],
    threadgroup uint* scratch [[threadgroup(0)]],  // (simdgroups, 2)
    uint b [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
    uint threads [[threads_per_threadgroup]], uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  SSM_ABSENT(has_logits, device const T* logits);
  const uint slot = rows[b];
  if (slot >= p.slots || selection[slot].alternatives == 0) return;  // the whole threadgroup
  device const T* xs =
      has_logits ? logits + ulong(b) * p.vocabulary : kept + ulong(slot) * p.vocabulary;
  device uint* out_tokens = reported + ulong(slot) * p.places;
  device float* out_logprobs = logprobs + ulong(slot) * p.places;
  const uint asked = min(selection[slot].alternatives - 1, p.vocabulary);
  const uint places = min(asked + 1, p.places);

  Largest best = {0, 0xffffffffu};
  for (uint v = thread_index; v < p.vocabulary; v += threads) {
    const Largest here = {key_of(float(xs[v])), v};
    best = larger(best, here);
  }
  best = threadgroup_largest(best, scratch, lane, simdgroup, simdgroups);
  const float top = float(xs[best.index]);
  float sum = 0.0f;
  for (uint v = thread_index; v < p.vocabulary; v += threads) {
    sum += precise::exp(float(xs[v]) - top);
  }
  sum = threadgroup_sum(sum, (threadgroup float*)scratch, lane, simdgroup, simdgroups);
  const float log_sum = precise::log(sum);  // of probabilities relative to the largest
  if (thread_index == 0) {
    const uint drawn = token[slot];
    out_tokens[0] = drawn;
    out_logprobs[0] = float(xs[min(drawn, p.vocabulary - 1)]) - top - log_sum;
  }

  for (uint place = 1; place < places; ++place) {
    if (thread_index == 0) {
      out_tokens[place] = best.index;
      out_logprobs[place] = float(xs[best.index]) - top - log_sum;
    }
    if (place + 1 == places) break;
    Largest next = {0, 0xffffffffu};
    for (uint v = thread_index; v < p.vocabulary; v += threads) {
      const Largest here = {key_of(float(xs[v])), v};
      const bool is_after = here.key < best.key || (here.key == best.key && v > best.index);
      if (is_after) next = larger(next, here);
    }
    best = threadgroup_largest(next, scratch, lane, simdgroup, simdgroups);
  }
}

INSTANTIATE(token_logprobs, (float32));
