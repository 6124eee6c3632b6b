// How the lanes of a simdgroup exchange values on the rig; cuda_context.h is its twin for a GPU.
// Included by the shim.
#pragma once

#include "kernel_context.h"

#define SOFTWARE_METAL_LIBRARY(name) __builtin_##name

namespace software_metal {

// What the lanes of a simdgroup gave to one operation.
template <class T>
struct Exchanged {
  const Slot* slots;
  unsigned arrived;

  bool has(unsigned lane) const { return (arrived >> lane) & 1u; }
  // A lane that took no part leaves garbage, as on a GPU.
  T of(unsigned lane) const {
    T value;
    __builtin_memset(&value, 0xA7, sizeof(T));
    if (has(lane)) __builtin_memcpy(&value, slots[lane].bytes, sizeof(T));
    return value;
  }
};

inline unsigned current_lane() { return current_thread->lane; }

template <class T>
inline Exchanged<T> exchange(T value, Site site) {
  static_assert(sizeof(T) <= sizeof(Slot));
  Simdgroup& simdgroup = *current_thread->simdgroup;
  Slot* slots = simdgroup.slots[simdgroup.turn % 2];
  __builtin_memcpy(slots[current_lane()].bytes, &value, sizeof(T));
  wait_for_simdgroup(site);
  return {slots, simdgroup.arrived};
}

// Adds in the order of a butterfly over 32 lanes. All lanes get one result, so it is found once: no
// lane ends the next operation before each of them has taken part in it.
template <class T, class Combine>
inline T reduce(T value, Combine combine, Site site) {
  const Exchanged<T> given = exchange(value, site);
  Simdgroup& simdgroup = *current_thread->simdgroup;
  T result;
  if (simdgroup.reduced_turn == simdgroup.turn) {
    __builtin_memcpy(&result, simdgroup.reduced.bytes, sizeof(T));
    return result;
  }
  T partial[kLanes];
  bool present[kLanes];
  for (unsigned i = 0; i < kLanes; ++i) {
    present[i] = given.has(i);
    if (present[i]) partial[i] = given.of(i);
  }
  for (unsigned step = kLanes / 2; step > 0; step /= 2) {
    for (unsigned i = 0; i < step; ++i) {
      if (!present[i + step]) continue;
      partial[i] = present[i] ? combine(partial[i], partial[i + step]) : partial[i + step];
      present[i] = true;
    }
  }
  result = partial[0];
  __builtin_memcpy(simdgroup.reduced.bytes, &result, sizeof(T));
  simdgroup.reduced_turn = simdgroup.turn;
  return result;
}

inline unsigned lanes_with(bool value, Site site) {
  const Exchanged<bool> given = exchange(value, site);
  unsigned mask = 0;
  for (unsigned i = 0; i < kLanes; ++i) {
    if (given.has(i) && given.of(i)) mask |= 1u << i;
  }
  return mask;
}

// Two elements of each factor of a matrix product, from every lane.
struct Factors {
  const Slot* slots;

  float of(unsigned lane, unsigned i) const {
    float value;
    __builtin_memcpy(&value, slots[lane].bytes + i * sizeof(float), sizeof(float));
    return value;
  }
};
inline Factors exchange_factors(const float (&mine)[4], Site site) {
  struct Four {
    float values[4];
  };
  const Four four = {{mine[0], mine[1], mine[2], mine[3]}};
  return {exchange(four, site).slots};
}

}  // namespace software_metal
