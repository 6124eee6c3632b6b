// Index of the largest of n numbers; of equal ones the first.
#pragma once

#include <cmath>
#include <cstddef>

namespace ssm::cpu {

struct Largest {
  size_t index;
  bool is_nan = false;  // there is NaN, at this index first
};

inline Largest largest(const float* x, size_t n) {
  size_t best = 0;
  for (size_t i = 0; i < n; ++i) {
    if (std::isnan(x[i])) return {i, true};
    if (x[i] > x[best]) best = i;
  }
  return {best};
}

}  // namespace ssm::cpu
