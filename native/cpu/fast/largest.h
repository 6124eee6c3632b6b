// As native/cpu/largest.h: the index of the largest of n numbers, of equal ones the first.
#pragma once

#include <algorithm>

#include "native/cpu/fast/kernels.h"
#include "native/cpu/largest.h"

namespace ssm::cpu::fast {

inline Largest largest(const float* x, size_t n, const Kernels& kernels) {
  const float* found = std::find(x, x + n, kernels.largest_value(x, n));
  // Not found: it is NaN, and the plain loop says where.
  return found < x + n ? Largest{static_cast<size_t>(found - x)} : cpu::largest(x, n);
}

}  // namespace ssm::cpu::fast
