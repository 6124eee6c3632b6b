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

// Adds in the order of a butterfly over 32 lanes. Takes copies: the address of a variable would
// keep it in memory, which a test looks for in kernels.
template <class T, class Combine>
SOFTWARE_METAL_UNCHECKED inline T combine_all(Exchanged<T> given, Combine combine) {
  T partial[kLanes];
  if (given.arrived == ~0u) {
    for (unsigned i = 0; i < kLanes; ++i) {
      __builtin_memcpy(&partial[i], given.slots[i].bytes, sizeof(T));
    }
#pragma clang loop unroll(full)
    for (unsigned step = kLanes / 2; step > 0; step /= 2) {
      for (unsigned i = 0; i < step; ++i) partial[i] = combine(partial[i], partial[i + step]);
    }
    return partial[0];
  }
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
  return partial[0];
}

// All lanes get one result, so it is found once: no lane ends the next operation before each of
// them has taken part in it.
template <class T, class Combine>
inline T reduce(T value, Combine combine, Site site) {
  const Exchanged<T> given = exchange(value, site);
  Simdgroup& simdgroup = *current_thread->simdgroup;
  T result;
  if (simdgroup.reduced_turn == simdgroup.turn) {
    __builtin_memcpy(&result, simdgroup.reduced.bytes, sizeof(T));
    return result;
  }
  result = combine_all(given, combine);
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

// The place of a lane's first element in an 8 x 8 matrix; it has the next one of the row too.
struct MatrixPlace {
  unsigned row, col;
};
inline MatrixPlace place_of(unsigned lane) {
  return {(lane / 4 & 4) + lane / 2 % 4, (lane / 4 & 2) * 2 + lane % 2 * 2};
}

// a b + c for two neighbours of a row. All lanes need the same factors, so the first one to ask
// finds the products of all of them: 8 at a time, each of its 8 terms added in order.
SOFTWARE_METAL_UNCHECKED inline void multiply_for_all(Simdgroup& simdgroup, const Slot* slots) {
  typedef float Row __attribute__((ext_vector_type(8)));
  Row a[8], b[8], sums[8];
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    float given[6];
    __builtin_memcpy(given, slots[lane].bytes, sizeof(given));
    const auto [row, col] = place_of(lane);
    for (unsigned i = 0; i < 2; ++i) {
      a[row][col + i] = given[i];
      b[row][col + i] = given[2 + i];
      sums[row][col + i] = given[4 + i];
    }
  }
  for (unsigned row = 0; row < 8; ++row) {
    for (unsigned k = 0; k < 8; ++k) {
      const Row factor = a[row][k];
      sums[row] = __builtin_elementwise_fma(factor, b[k], sums[row]);
    }
    __builtin_memcpy(simdgroup.product[row], &sums[row], sizeof(Row));
  }
}

// A GPU keeps right factors the other way round.
template <class T>
struct Transposed {
  void exchange(const T (&)[2]) {}
};

// A matrix whose rows are `stride` elements apart, or its columns.
template <class T>
inline void load_matrix(const T* first, unsigned long stride, bool transpose, T (&elements)[2],
                        Transposed<T>&) {
  const auto [row, col] = place_of(current_lane());
  for (unsigned i = 0; i < 2; ++i) {
    elements[i] = transpose ? first[(col + i) * stride + row] : first[row * stride + col + i];
  }
}

template <class Factor>
inline void multiply_accumulate(const Factor (&a)[2], const Factor (&b)[2],
                                const Transposed<Factor>&, float (&c)[2], Site site) {
  struct Six {
    float values[6];
  };
  const Six mine = {{float(a[0]), float(a[1]), float(b[0]), float(b[1]), c[0], c[1]}};
  const Exchanged<Six> given = exchange(mine, site);
  Simdgroup& simdgroup = *current_thread->simdgroup;
  if (simdgroup.reduced_turn != simdgroup.turn) {
    multiply_for_all(simdgroup, given.slots);
    simdgroup.reduced_turn = simdgroup.turn;
  }
  const auto [row, col] = place_of(current_lane());
  for (unsigned i = 0; i < 2; ++i) c[i] = simdgroup.product[row][col + i];
}

}  // namespace software_metal
