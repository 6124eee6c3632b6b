// The largest of many numbers.
#pragma once

#include "native/cpu/fast/vector.h"

namespace ssm::cpu::SSM_LEVEL {

// The largest of x, NaN if there is one; n > 0.
static float largest_value(const float* x, size_t n) {
  constexpr size_t kParts = 4;
  Floats best[kParts];
  Ints is_nan = {};
  for (Floats& part : best) part = splat(-__builtin_inff());
  size_t i = 0;
  for (; i + kParts * kWidth <= n; i += kParts * kWidth) {
    for (size_t p = 0; p < kParts; ++p) {
      const Floats v = load(x + i + p * kWidth);
      is_nan |= v != v;
      best[p] = max(best[p], v);
    }
  }
  float largest = -__builtin_inff();
  bool any_nan = false;
  for (const Floats& part : best) {
    for (size_t lane = 0; lane < kWidth; ++lane) {
      largest = part[lane] > largest ? part[lane] : largest;
      any_nan |= is_nan[lane] != 0;
    }
  }
  for (; i < n; ++i) {
    largest = x[i] > largest ? x[i] : largest;
    any_nan |= x[i] != x[i];
  }
  return any_nan ? __builtin_nanf("") : largest;
}

}  // namespace ssm::cpu::SSM_LEVEL
