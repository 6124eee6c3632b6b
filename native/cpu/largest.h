// Index of the largest of n numbers; of equal ones the first.
#pragma once

#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>

namespace ssm::cpu {

// Throws std::domain_error on NaN: without it a model with broken weights would repeat token 0
// for ever.
inline size_t largest(const char* operation, const float* x, size_t n) {
  size_t best = 0;
  for (size_t i = 0; i < n; ++i) {
    if (std::isnan(x[i])) {
      throw std::domain_error("[" + std::string(operation) + "] logit " + std::to_string(i) +
                              " is NaN: the weights or the state hold NaN or overflow");
    }
    if (x[i] > x[best]) best = i;
  }
  return best;
}

}  // namespace ssm::cpu
