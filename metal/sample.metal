// Draws the next token from a row of logits: those given, or those that its slot has kept. In this
// order:
//   1. repetition penalty: the logit of each token in the ring of recent ones is divided by the
//      penalty when positive, multiplied when negative (Keskar et al., CTRL, 2019)
//   2. minus frequency_penalty * counts[token], and minus presence_penalty where that is not 0
//   3. plus the token's bias
//   4. -infinity where the row is masked and the token's bit of the mask is 0
//   5. temperature 0: the largest score, done. Otherwise scores are divided by the temperature
//   6. top-k: keep scores >= the k-th largest
//   7. top-p: keep the most probable tokens up to and including the one with which their summed
//      probability reaches top_p, and all others equally probable
//   8. min-p: keep tokens at least min_p times as probable as the most probable one
//   9. the largest of score + Gumbel noise, which draws from the softmax of what is left
// The noise of a token is a function of (seed, position, token id): random.h. The drawn token
// enters the ring of recent tokens at place position mod `recent`, its count goes up by one where
// step 2 looks at counts, and one token less remains to be drawn: none if it is among the stops.
// All but logits and report are of the slot of the row; a slot that keeps its logits gets them as
// they came.
//
// Grid: one threadgroup a row, of up to 1024 threads; thread t owns every token that is t
// modulo their number. No sort: floats are compared as ordered integers (common.h), and a threshold
// is found digit by digit, from the highest. A pass over the logits adds up, for each value of the
// digit, how many tokens have it (top-k) or how much they weigh (top-p); four passes for each.
// Threadgroup memory: two words a simdgroup; the histogram; its sums.
//
// Limits: no slot twice; a vocabulary of less than 2^24. Probabilities are float32 and summed as
// whole numbers of 2^-40 of the largest one, so that no order of threads changes a sum; the CPU
// device sums in float64: a token whose summed probability is within rounding of top_p may be kept
// on one device alone. With NaN among the logits that the mask leaves, at a temperature above 0
// with a largest score that is infinite, and where a mask leaves nothing above -infinity, a row
// draws no token: its report says so, none remains, its token, its ring and its counts stay as they
// are, and the other rows are none the worse. A row that has no slot does nothing but report that.
#include <metal_stdlib>

#include "metal/common.h"
#include "metal/random.h"
#include "metal/sample.h"

SSM_CONSTANT(bool, has_logits);

// By its bits: a compiler may take an infinity for a number that does not occur.
constant constexpr uint kBitsOfMinusInfinity = 0xff800000u;

// What tokens weigh, by a digit of their keys. A sum takes two words: the lower ones of all digits
// come first, then the upper ones.
struct Histogram {
  threadgroup atomic_uint* bins;  // (2, kDigitCopies, kCopyStride)
  threadgroup uint* sums;         // (2, kDigits): over the copies
};

constant constexpr uint kBins = kDigitCopies * kCopyStride;

// Empties the bins. A barrier must follow.
inline void clear(Histogram histogram, uint thread_index, uint threads) {
  for (uint i = thread_index; i < 2 * kBins; i += threads) {
    atomic_store_explicit(histogram.bins + i, 0u, memory_order_relaxed);
  }
}

// Adds 2^32 * high + low.
inline void add(Histogram histogram, uint bin, uint high, uint low) {
  if (low != 0) {
    const uint before = atomic_fetch_add_explicit(histogram.bins + bin, low, memory_order_relaxed);
    if (before + low < low) high += 1;  // the sum of the lower words has passed 2^32
  }
  if (high != 0) {
    atomic_fetch_add_explicit(histogram.bins + kBins + bin, high, memory_order_relaxed);
  }
}

// Sums over the copies of each digit, and empties the bins. The barriers before and after it are
// its own.
inline void sum_copies(Histogram histogram, uint thread_index, uint threads) {
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint digit = thread_index; digit < kDigits; digit += threads) {
    ulong sum = 0;
    for (uint copy = 0; copy < kDigitCopies; ++copy) {
      threadgroup atomic_uint* bin = histogram.bins + copy * kCopyStride + digit;
      const uint low = atomic_load_explicit(bin, memory_order_relaxed);
      const uint high = atomic_load_explicit(bin + kBins, memory_order_relaxed);
      sum += (ulong(high) << 32) + low;
      atomic_store_explicit(bin, 0u, memory_order_relaxed);
      atomic_store_explicit(bin + kBins, 0u, memory_order_relaxed);
    }
    histogram.sums[digit] = uint(sum);
    histogram.sums[kDigits + digit] = uint(sum >> 32);
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
}

inline ulong sum_of(Histogram histogram, uint digit) {
  return (ulong(histogram.sums[kDigits + digit]) << 32) + histogram.sums[digit];
}

// Simdgroup functions take words: of values of which all but one are 0, that one.
inline ulong the_one(ulong value) {
  return (ulong(simd_max(uint(value >> 32))) << 32) + simd_max(uint(value));
}

// The part `share`, less than 1, of `sum`; at least one unit.
inline ulong part_of(ulong sum, float share) {
  const ulong parts = uint(max(share, 0.0f) * 4294967296.0f);  // of 2^32
  return max((sum >> 32) * parts + ((sum & 0xffffffffu) * parts >> 32), ulong(1));
}

// The digit that a histogram's sums, from the largest digit down, reach the target with; the same
// in every lane. `target` becomes what this digit has to give. `by_share`: the target is the part
// `share` of the whole sum.
inline uint digit_at(Histogram histogram, thread ulong& target, bool by_share, float share,
                     uint lane) {
  constexpr uint kLaneDigits = kDigits / 32;  // lane 0 has the largest
  const uint first = (31 - lane) * kLaneDigits;
  ulong own = 0;
  for (uint i = 0; i < kLaneDigits; ++i) own += sum_of(histogram, first + i);
  ulong reached = own;  // with the digits of this lane
  for (ushort step = 1; step < 32; step *= 2) {
    const uint low = simd_shuffle_up(uint(reached), step);
    const uint high = simd_shuffle_up(uint(reached >> 32), step);
    if (lane >= step) reached += (ulong(high) << 32) + low;
  }
  if (by_share) target = part_of(the_one(lane == 31 ? reached : ulong(0)), share);
  ulong above = reached - own;
  uint digit = first + kLaneDigits - 1;
  const bool here = above < target && target <= reached;
  if (here) {
    for (ulong sum = sum_of(histogram, digit); above + sum < target;
         sum = sum_of(histogram, digit)) {
      above += sum;
      digit -= 1;
    }
  }
  target -= the_one(here ? above : ulong(0));
  return simd_max(here ? digit : 0u);
}

// The largest key t for which `count` tokens have a key of at least t; with a count of 0, for which
// tokens with at least the part `share` of the probability of all do. Tokens below `least` do not
// take part. The bins are empty before and after it.
inline uint threshold(device const float* scores, uint vocabulary, uint count, float share,
                      uint least, Histogram histogram, uint thread_index, uint threads, uint lane) {
  ulong target = count;
  uint found = 0;  // the digits so far
  for (uint shift = 32; shift > 0;) {
    const bool is_first = shift == 32;
    shift -= kDigitBits;
    for (uint v = thread_index; v < vocabulary; v += threads) {
      const float score = scores[v];
      const uint key = key_of(score);
      if (key < least || (key ^ found) >> shift >= kDigits) continue;
      const uint bin = lane % kDigitCopies * kCopyStride + (key >> shift) % kDigits;
      if (count > 0) {
        add(histogram, bin, 0, 1);
      } else {
        const float weight = precise::exp(score) * 256.0f;  // in units of 2^32
        const uint whole = uint(weight);
        add(histogram, bin, whole, uint((weight - float(whole)) * 4294967296.0f));
      }
    }
    sum_copies(histogram, thread_index, threads);
    found |= digit_at(histogram, target, is_first && count == 0, share, lane) << shift;
  }
  return found;
}

// Where a thread stands in its threadgroup.
struct Place {
  uint thread_index, threads, lane, simdgroup, simdgroups;
};

// Subtracts what generated tokens cost. Ends with a barrier, as the two below.
inline void penalise_generated(device float* scores, device const uint* counts, uint vocabulary,
                               float presence, float frequency, Place place) {
  for (uint v = place.thread_index; v < vocabulary; v += place.threads) {
    const uint count = counts[v];
    if (count > 0) scores[v] -= frequency * float(count) + presence;
  }
  threadgroup_barrier(mem_flags::mem_device);
}

inline void add_biases(device float* scores, device const SampleBias* biases, uint count,
                       uint vocabulary, Place place) {
  for (uint i = place.thread_index; i < count; i += place.threads) {
    const uint token = biases[i].token;
    if (token < vocabulary) scores[token] += biases[i].bias;
  }
  threadgroup_barrier(mem_flags::mem_device);
}

// Bit v % 32 of word v / 32 of `mask` is 1 for tokens that may be drawn.
inline void rule_out(device float* scores, device const uint* mask, uint vocabulary, Place place) {
  for (uint v = place.thread_index; v < vocabulary; v += place.threads) {
    const bool may_be_drawn = (mask[v / 32] >> v % 32 & 1) != 0;
    if (!may_be_drawn) scores[v] = as_type<float>(kBitsOfMinusInfinity);
  }
  threadgroup_barrier(mem_flags::mem_device);
}

// Copies the row of logits to the scores and, where `keeps`, to `copy`, which may be the row
// itself. Ends with a barrier.
template <class T>
inline void copy_logits(device float* scores, device T* copy, device const T* row, bool keeps,
                        uint vocabulary, Place place) {
  for (uint v = place.thread_index; v < vocabulary; v += place.threads) {
    const T logit = row[v];
    scores[v] = float(logit);
    if (keeps) copy[v] = logit;
  }
  threadgroup_barrier(mem_flags::mem_device);
}

// Each token of the ring is penalised once, by the thread that has its first place. Ends with a
// barrier.
template <class T>
inline void penalise_repetition(device float* scores, device const T* row,
                                device const uint* recent, uint places, float penalty,
                                uint vocabulary, Place place) {
  if (penalty != 1.0f) {
    for (uint i = place.thread_index; i < places; i += place.threads) {
      const uint token = recent[i];
      bool seen = token >= vocabulary;  // an empty place of the ring
      for (uint j = 0; j < i && !seen; ++j) seen = recent[j] == token;
      if (seen) continue;
      const float logit = float(row[token]);
      scores[token] = logit > 0.0f ? logit / penalty : logit * penalty;
    }
  }
  threadgroup_barrier(mem_flags::mem_device);
}

// The largest score, the same in every thread.
inline Largest largest_score(device const float* scores, uint vocabulary, threadgroup uint* scratch,
                             Place place) {
  Largest best = {0, 0xffffffffu};
  for (uint v = place.thread_index; v < vocabulary; v += place.threads) {
    const Largest here = {key_of(scores[v]), v};
    best = larger(best, here);
  }
  return threadgroup_largest(best, scratch, place.lane, place.simdgroup, place.simdgroups);
}

// Divides the scores by the temperature, relative to the largest, so that a tiny one cannot
// overflow, and empties the bins.
inline void apply_temperature(device float* scores, float top, float temperature,
                              Histogram histogram, uint vocabulary, Place place) {
  clear(histogram, place.thread_index, place.threads);
  // The bins are empty, and everyone has read the largest.
  threadgroup_barrier(mem_flags::mem_device | mem_flags::mem_threadgroup);
  for (uint v = place.thread_index; v < vocabulary; v += place.threads) {
    scores[v] = (scores[v] - top) / temperature;
  }
}

// The smallest key of a score that top-k, top-p and min-p keep, the same in every thread.
inline uint least_kept(device const float* scores, uint top_k, float top_p, float min_p,
                       Histogram histogram, uint vocabulary, Place place) {
  uint least = kKeyOfMinusInfinity + 1;
  if (top_k > 0 && top_k < vocabulary) {
    least = max(least, threshold(scores, vocabulary, top_k, 0.0f, 0, histogram, place.thread_index,
                                 place.threads, place.lane));
  }
  if (top_p < 1.0f) {
    least = max(least, threshold(scores, vocabulary, 0, top_p, least, histogram, place.thread_index,
                                 place.threads, place.lane));
  }
  if (min_p > 0.0f) least = max(least, key_of(precise::log(min_p)));
  return min(least, kKeyOfZero);  // the most probable token is always kept
}

// The largest score with its noise, of those whose key is at least `least`; the same in every
// thread.
inline Largest draw(device const float* scores, uint least, uint position, uint seed_low,
                    uint seed_high, uint vocabulary, threadgroup uint* scratch, Place place) {
  Largest best = {0, 0xffffffffu};
  for (uint v = place.thread_index; v < vocabulary; v += place.threads) {
    const float relative = scores[v];
    if (key_of(relative) < least) continue;
    const float random = ::uniform(philox(position, v, seed_low, seed_high).word[0]);
    const float noise = -precise::log(-precise::log(random));
    const Largest here = {key_of(relative + noise), v};
    best = larger(best, here);
  }
  return threadgroup_largest(best, scratch, place.lane, place.simdgroup, place.simdgroups);
}

// How many tokens remain to be drawn after `token`: none if it is among the stops.
inline uint remaining_after(uint token, uint remaining, device const uint* stops, uint count) {
  uint left = max(remaining, 1u) - 1;
  for (uint i = 0; i < count; ++i) {
    if (stops[i] == token) left = 0;
  }
  return left;
}

template <class T>
[[kernel]] void sample(SSM_OPTIONAL(has_logits, 0, device const T* logits)   // (batch, vocabulary)
                       device const uint* rows [[buffer(1)]],                // (batch): slots
                       device const SampleSettings* settings [[buffer(2)]],  // (slots)
                       device const SampleSelection* selection [[buffer(3)]],  // (slots)
                       device const uint* stops [[buffer(4)]],                 // (slots, stops)
                       device const SampleBias* biases [[buffer(5)]],          // (slots, biases)
                       device const uint* mask [[buffer(6)]],      // (slots, vocabulary / 32): bits
                       device uint* counts [[buffer(7)]],          // (slots, vocabulary)
                       device uint* history [[buffer(8)]],         // (slots, history_length)
                       device const uint* position [[buffer(9)]],  // (slots)
                       device uint* remaining [[buffer(10)]],      // (slots)
                       device T* kept [[buffer(11)]],              // (slots, vocabulary)
                       device uint* out [[buffer(12)]],            // (slots)
                       device SampleReport* report [[buffer(13)]],  // (batch)
                       constant SampleParams& p [[buffer(14)]],
                       device float* scores [[buffer(15)]],  // (batch, vocabulary): scratch memory
                       threadgroup uint* scratch [[threadgroup(0)]],      // (simdgroups, 2)
                       threadgroup atomic_uint* bins [[threadgroup(1)]],  // of Histogram
                       threadgroup uint* sums [[threadgroup(2)]],         // of Histogram
                       uint b [[threadgroup_position_in_grid]],
                       uint thread_index [[thread_index_in_threadgroup]],
                       uint threads [[threads_per_threadgroup]],
                       uint lane [[thread_index_in_simdgroup]],
                       uint simdgroup [[simdgroup_index_in_threadgroup]],
                       uint simdgroups [[simdgroups_per_threadgroup]]) {
  SSM_ABSENT(has_logits, device const T* logits);
  const uint slot = rows[b];
  if (slot >= p.slots) {  // the whole threadgroup
    if (thread_index == 0) {
      report[b].token = kNoToken;
      report[b].status = kSkipped;
    }
    return;
  }
  device const SampleSettings& setting = settings[slot];
  device const SampleSelection& selected = selection[slot];
  const Histogram histogram = {bins, sums};
  const Place place = {thread_index, threads, lane, simdgroup, simdgroups};

  device T* copy = kept + ulong(slot) * p.vocabulary;
  device const T* row = has_logits ? logits + ulong(b) * p.vocabulary : copy;
  device float* score = scores + ulong(b) * p.vocabulary;
  copy_logits(score, copy, row, has_logits && selected.keeps_logits != 0, p.vocabulary, place);
  device uint* recent = history + ulong(slot) * p.history_length;
  const uint places = min(selected.recent, p.history_length);
  penalise_repetition(score, row, recent, places, setting.repetition_penalty, p.vocabulary, place);

  // What only some slots use: the others pay for no pass and no barrier.
  device uint* count = counts + ulong(slot) * p.vocabulary;
  const float presence = setting.presence_penalty, frequency = setting.frequency_penalty;
  const bool uses_counts = presence != 0.0f || frequency != 0.0f;
  if (uses_counts) penalise_generated(score, count, p.vocabulary, presence, frequency, place);
  const uint bias_count = min(selected.biases, p.biases);
  if (bias_count > 0) {
    add_biases(score, biases + ulong(slot) * p.biases, bias_count, p.vocabulary, place);
  }
  const bool masked = selected.masked != 0;
  if (masked) rule_out(score, mask + slot * ulong((p.vocabulary + 31) / 32), p.vocabulary, place);

  Largest best = largest_score(score, p.vocabulary, scratch, place);
  uint status = best.key == kKeyOfNan ? kLogitIsNan : kDrawn;
  if (masked && best.key == kKeyOfMinusInfinity) status = kNoneAllowed;

  if (status == kDrawn && setting.temperature > 0.0f) {
    const float top = score[best.index];
    if (!is_finite(top)) {
      status = kLogitIsInfinite;
    } else {
      apply_temperature(score, top, setting.temperature, histogram, p.vocabulary, place);
      const uint least = least_kept(score, selected.top_k, setting.top_p, setting.min_p, histogram,
                                    p.vocabulary, place);
      best = draw(score, least, position[slot], selected.seed_low, selected.seed_high, p.vocabulary,
                  scratch, place);
    }
  }
  if (thread_index == 0) {
    report[b].token = status == kNoneAllowed ? uint(kNoToken) : best.index;
    report[b].status = status;
    uint left = 0;
    if (status == kDrawn) {
      out[slot] = best.index;
      if (places > 0) recent[position[slot] % places] = best.index;
      if (uses_counts) count[best.index] += 1;
      left = remaining_after(best.index, remaining[slot], stops + ulong(slot) * p.stops, p.stops);
    }
    remaining[slot] = left;
  }
}

INSTANTIATE(sample, (float32));
