// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random
// numbers: as easy as 1, 2, 3", SC 2011). The number depends on (seed, position, token id) alone,
// so it is the same on every device and for every order of threads.
#pragma once
#include "metal/types.h"

struct RandomBlock {
  uint32_t word[4];
};

inline uint32_t multiply_high(uint32_t a, uint32_t b) {
  return (uint32_t)(((uint64_t)a * (uint64_t)b) >> 32);
}

inline RandomBlock philox(uint32_t counter0, uint32_t counter1, uint32_t key0, uint32_t key1) {
  RandomBlock c = {{counter0, counter1, 0, 0}};
  for (int round = 0; round < 10; ++round) {
    const uint32_t high0 = multiply_high(0xD2511F53u, c.word[0]), low0 = 0xD2511F53u * c.word[0];
    const uint32_t high1 = multiply_high(0xCD9E8D57u, c.word[2]), low1 = 0xCD9E8D57u * c.word[2];
    c = {{high1 ^ c.word[1] ^ key0, low1, high0 ^ c.word[3] ^ key1, low0}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return c;
}

// A float32 strictly between 0 and 1: 23 random bits, centred in their interval.
inline float uniform(uint32_t word) { return ((float)(word >> 9) + 0.5f) * (1.0f / 8388608.0f); }
