// Draws the next token from a row of logits. In this order:
//   1. repetition penalty: the logit of each token in the ring of recent ones is divided by the
//      penalty when positive, multiplied when negative (Keskar et al., CTRL, 2019)
//   2. temperature 0: the largest logit, done. Otherwise logits are divided by the temperature
//   3. top-k: keep logits >= the k-th largest
//   4. top-p: keep the most probable tokens up to and including the one with which their summed
//      probability reaches top_p, and all others equally probable
//   5. min-p: keep tokens at least min_p times as probable as the most probable one
//   6. the largest of logit + Gumbel noise, which draws from the softmax of what is left
// The noise of a token is a function of (seed, position, token id): random.h. The drawn token
// enters the ring of recent tokens at row position mod history_length.
//
// Grid: one threadgroup a sequence, of up to 1024 threads; thread t owns every token that is t
// modulo their number. No sort: a threshold is found two bits at a time, in 16 passes over the
// logits that count (top-k) or weigh (top-p) those above three candidates. Floats are compared as
// ordered integers (common.h). Threadgroup memory: two words a simdgroup.
//
// Limits: a vocabulary of less than 2^24 (counts are float32). Probabilities are summed in float32,
// on the CPU device in float64: a token whose summed probability is within rounding of top_p may be
// kept on one device alone.
// NaN among the logits, and at a temperature above 0 a largest logit that is infinite, give the
// token 0xffffffff and leave the ring as it is: the host fails the run.
#include <metal_stdlib>

#include "common.h"
#include "random.h"
#include "sample.h"

// The largest key t for which the weights of the tokens with a key of at least t sum up to
// `target`; 0 if all together do not. The weight of a token is 1, or its probability times a
// constant; tokens below `least` have none.
inline uint threshold(device const float* logits, uint vocabulary, bool by_probability,
                      float target, uint least, threadgroup float* scratch, uint thread_index,
                      uint threads, uint lane, uint simdgroup, uint simdgroups) {
  uint found = 0;
  for (uint step = 1u << 30; step > 0; step >>= 2) {
    float sum[3] = {};
    for (uint v = thread_index; v < vocabulary; v += threads) {
      const uint key = key_of(logits[v]);
      if (key < least) continue;
      const float weight = by_probability ? precise::exp(logits[v]) : 1.0f;
      for (uint i = 0; i < 3; ++i) {
        if (key >= found + (i + 1) * step) sum[i] += weight;
      }
    }
    uint steps = 0;
    for (uint i = 0; i < 3; ++i) {
      const float total = threadgroup_sum(sum[i], scratch, lane, simdgroup, simdgroups);
      if (total >= target) steps = i + 1;
    }
    found += steps * step;
  }
  return found;
}

template <class T>
[[kernel]] void sample(device const T* logits [[buffer(0)]],                 // (batch, vocabulary)
                       device const SampleSettings* settings [[buffer(1)]],  // (batch)
                       device const SampleSelection* selection [[buffer(2)]],  // (batch)
                       device uint* history [[buffer(3)]],         // (batch, history_length)
                       device const uint* position [[buffer(4)]],  // (batch)
                       device uint* out [[buffer(5)]],             // (batch)
                       constant SampleParams& p [[buffer(6)]],
                       device float* scores [[buffer(7)]],  // (batch, vocabulary): scratch memory
                       threadgroup uint* scratch [[threadgroup(0)]],  // (simdgroups, 2)
                       uint b [[threadgroup_position_in_grid]],
                       uint thread_index [[thread_index_in_threadgroup]],
                       uint threads [[threads_per_threadgroup]],
                       uint lane [[thread_index_in_simdgroup]],
                       uint simdgroup [[simdgroup_index_in_threadgroup]],
                       uint simdgroups [[simdgroups_per_threadgroup]]) {
  device const T* row = logits + ulong(b) * p.vocabulary;
  device float* score = scores + ulong(b) * p.vocabulary;
  device uint* recent = history + ulong(b) * p.history_length;
  threadgroup float* sums = (threadgroup float*)scratch;

  for (uint v = thread_index; v < p.vocabulary; v += threads) score[v] = float(row[v]);
  threadgroup_barrier(mem_flags::mem_device);
  const float penalty = settings[b].repetition_penalty;
  if (penalty != 1.0f) {
    for (uint i = thread_index; i < p.history_length; i += threads) {
      const uint token = recent[i];
      bool seen = token >= p.vocabulary;  // an empty row of the ring
      for (uint j = 0; j < i && !seen; ++j) seen = recent[j] == token;
      if (seen) continue;
      const float logit = float(row[token]);
      score[token] = logit > 0.0f ? logit / penalty : logit * penalty;
    }
  }
  threadgroup_barrier(mem_flags::mem_device);

  Largest best = {0, 0xffffffffu};
  for (uint v = thread_index; v < p.vocabulary; v += threads) {
    const Largest here = {key_of(score[v]), v};
    best = larger(best, here);
  }
  best = threadgroup_largest(best, scratch, lane, simdgroup, simdgroups);
  bool valid = best.key != kKeyOfNan;

  const float temperature = settings[b].temperature;
  if (valid && temperature > 0.0f) {
    const float top = score[best.index];
    valid = is_finite(top);
    if (valid) {
      threadgroup_barrier(mem_flags::mem_device);  // everyone has read the largest
      // Relative to the largest, so that a tiny temperature cannot overflow.
      for (uint v = thread_index; v < p.vocabulary; v += threads) {
        score[v] = (score[v] - top) / temperature;
      }
      uint least = kKeyOfMinusInfinity + 1;  // the smallest key that is kept
      const uint top_k = selection[b].top_k;
      if (top_k > 0 && top_k < p.vocabulary) {
        least = max(least, threshold(score, p.vocabulary, false, float(top_k), 0, sums,
                                     thread_index, threads, lane, simdgroup, simdgroups));
      }
      const float top_p = settings[b].top_p;
      if (top_p < 1.0f) {
        float total = 0.0f;
        for (uint v = thread_index; v < p.vocabulary; v += threads) {
          if (key_of(score[v]) >= least) total += precise::exp(score[v]);
        }
        total = threadgroup_sum(total, sums, lane, simdgroup, simdgroups);
        least = max(least, threshold(score, p.vocabulary, true, top_p * total, least, sums,
                                     thread_index, threads, lane, simdgroup, simdgroups));
      }
      const float min_p = settings[b].min_p;
      if (min_p > 0.0f) least = max(least, key_of(precise::log(min_p)));
      least = min(least, kKeyOfZero);  // the most probable token is always kept

      const uint seed_low = selection[b].seed_low, seed_high = selection[b].seed_high;
      best.key = 0;
      best.index = 0xffffffffu;
      for (uint v = thread_index; v < p.vocabulary; v += threads) {
        if (key_of(score[v]) < least) continue;
        const float random = ::uniform(philox(position[b], v, seed_low, seed_high).word[0]);
        const float noise = -precise::log(-precise::log(random));
        const Largest here = {key_of(score[v] + noise), v};
        best = larger(best, here);
      }
      best = threadgroup_largest(best, scratch, lane, simdgroup, simdgroups);
    }
  }
  if (thread_index == 0) {
    out[b] = valid ? best.index : 0xffffffffu;
    if (valid && p.history_length > 0) recent[position[b] % p.history_length] = best.index;
  }
}

INSTANTIATE("sample_float32", sample<float>);
