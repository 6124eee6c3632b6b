// The inner product that every matrix operation of the CPU device is made of.
#pragma once

#include <cstddef>

#include "native/data_type.h"

namespace ssm::cpu {

// sum over k of x[k] * w[k] in float32. Order of accumulation: 16 partial sums, element k into sum
// k mod 16, added in halves at the end (8 + 8, 4 + 4, ...). Fixed, so results do not depend on the
// number of threads; interleaved, so the compiler can use vector registers and rounding errors grow
// with n / 16 instead of n.
template <class Weight>
float dot(const float* x, const Weight* w, size_t n) {
  constexpr size_t kLanes = 16;
  float sum[kLanes] = {};
  size_t k = 0;
  for (; k + kLanes <= n; k += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) sum[lane] += x[k + lane] * to_float(w[k + lane]);
  }
  for (size_t lane = 0; k < n; ++k, ++lane) sum[lane] += x[k] * to_float(w[k]);
  for (size_t half = kLanes / 2; half > 0; half /= 2) {
    for (size_t lane = 0; lane < half; ++lane) sum[lane] += sum[lane + half];
  }
  return sum[0];
}

}  // namespace ssm::cpu
