// The two halves of an RMS norm.
#pragma once

#include "native/cpu/fast/vector.h"

namespace ssm::cpu::SSM_LEVEL {

// sum over i of x[i]^2
static float sum_of_squares(const float* x, size_t n) {
  constexpr size_t kSums = 4;
  Floats partial[kSums] = {};
  size_t i = 0;
  for (; i + kSums * kWidth <= n; i += kSums * kWidth) {
    for (size_t s = 0; s < kSums; ++s) {
      const Floats v = load(x + i + s * kWidth);
      partial[s] += v * v;
    }
  }
  for (; i + kWidth <= n; i += kWidth) partial[0] += load(x + i) * load(x + i);
  float total = sum((partial[0] + partial[1]) + (partial[2] + partial[3]));
  for (; i < n; ++i) total += x[i] * x[i];
  return total;
}

// out[i] = x[i] * scale * w[i]; out may be x.
static void scale_row(const float* x, const float* w, float scale, size_t n, float* out) {
  size_t i = 0;
  for (; i + kWidth <= n; i += kWidth) store(out + i, load(x + i) * splat(scale) * load(w + i));
  for (; i < n; ++i) out[i] = x[i] * scale * w[i];
}

}  // namespace ssm::cpu::SSM_LEVEL
