// How much is left of a state after each token of a chunk, which ssd_chunk_scan and
// delta_chunk_scan share. Exponents are sums, never differences of running sums, which would lose
// digits when a head forgets fast: sums over runs of tokens are put together.
#pragma once
#include "metal/common.h"
#include "metal/tile_shape.h"

constant constexpr uint kRun = 8;  // tokens

// What the tokens of one chunk do to the state of one head, in threadgroup memory of kDecayBytes.
// Beyond the end of the chunk factor and d are 0.
struct Decays {
  threadgroup float* factor;  // of a token's input: the step size, or beta, or 1
  threadgroup float* d;       // logarithm of what a token leaves of the state, at most 0
  threadgroup float* before;  // sum of d from the start of the token's run, the token included
  threadgroup float* after;   // sum of d over the rest of the run, the token excluded
  threadgroup float* scales;  // for the kernel
};

inline Decays decays_in(threadgroup float* memory) {
  Decays decays;
  decays.factor = memory;
  decays.d = memory + kLongestChunk;
  decays.before = memory + 2 * kLongestChunk;
  decays.after = memory + 3 * kLongestChunk;
  decays.scales = memory + 4 * kLongestChunk;
  return decays;
}

// Sum of d over the runs begin .. end - 1.
inline float sum_of_runs(Decays decays, uint begin, uint end) {
  float sum = 0.0f;
  for (uint run = begin; run < end; ++run) sum += decays.before[run * kRun + kRun - 1];
  return sum;
}

// Sum of d over all tokens up to t, and over all after it.
inline float sum_before(Decays decays, uint t) {
  return decays.before[t] + sum_of_runs(decays, 0, t / kRun);
}
inline float sum_after(Decays decays, uint t) {
  return decays.after[t] + sum_of_runs(decays, t / kRun + 1, kLongestChunk / kRun);
}

// All threads find `before` and `after`, thread t those of token t. A barrier stands before d is
// read; one is behind it.
inline void sum_decays(Decays decays, uint t) {
  if (t < kLongestChunk) {
    const uint run = t / kRun * kRun;
    float before = 0.0f, after = 0.0f;
    for (uint s = run; s <= t; ++s) before += decays.d[s];
    for (uint s = t + 1; s < run + kRun; ++s) after += decays.d[s];
    decays.before[t] = before;
    decays.after[t] = after;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
}
