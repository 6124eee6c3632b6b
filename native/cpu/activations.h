// Scalar functions that several operations share.
#pragma once

#include <algorithm>
#include <cmath>

namespace ssm::cpu {

inline float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

inline float silu(float x) { return x / (1.0f + std::exp(-x)); }

// Exact, with the error function, as torch.nn.GELU() and mlx.nn.gelu.
inline float gelu(float x) { return 0.5f * x * (1.0f + std::erf(x * 0.70710678f)); }

// A NaN stays one.
inline float relu2(float x) { return x < 0.0f ? 0.0f : x * x; }

// log(1 + exp(x)); beyond 20 it equals x in float32.
inline float softplus(float x) { return x > 20.0f ? x : std::log1p(std::exp(x)); }

// The step size of a Mamba-2 head: clamp(softplus(dt + bias), min, max).
inline float step_size(float dt, float bias, float min, float max) {
  return std::clamp(softplus(dt + bias), min, max);
}

}  // namespace ssm::cpu
