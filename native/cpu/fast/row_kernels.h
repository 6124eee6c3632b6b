// Operations on rows, element by element.
#pragma once

#include "metal/types.h"
#include "native/cpu/fast/kernels.h"
#include "native/cpu/fast/vector.h"

namespace ssm::cpu::SSM_LEVEL {

// out[i] = f(i, ...) for i < n, a vector at a time. f gets the first element of a vector and how to
// load a vector from there; out may be anything that f loads.
template <class F>
SSM_INLINE void for_row(size_t n, float* out, F f) {
  size_t i = 0;
  for (; i + kWidth <= n; i += kWidth) {
    store(out + i, f(i, [](const float* at) { return load(at); }));
  }
  if (const size_t rest = n - i; rest > 0) {
    store_first(out + i, f(i, [=](const float* at) { return load_first(at, rest); }), rest);
  }
}

// As conv1d_row (cpu/fast/ssd_kernels.h), to the bit, with w (width, channels).
static void conv1d_transposed_row(const float* const* taps, const float* w, const float* bias,
                                  size_t channels, size_t width, uint32_t activation, float* out) {
  for_row(
      channels, out, [&](size_t c, auto from) __attribute__((always_inline)) {
        Floats sum = bias == nullptr ? Floats{} : from(bias + c);
        for (size_t k = 0; k < width; ++k) sum += from(w + k * channels + c) * from(taps[k] + c);
        return activation == kSilu ? silu(sum) : sum;
      });
}

// out[i] = activation(x[i]) (* gate[i]); no gate: null. out may be x.
static void activate(const float* x, uint32_t activation, const float* gate, size_t n, float* out) {
  for_row(
      n, out, [&](size_t i, auto from) __attribute__((always_inline)) {
        Floats v = from(x + i);
        if (activation == kGelu) v = gelu(v);
        if (activation == kSilu) v = silu(v);
        if (activation == kRelu2) v = relu2(v);
        return gate == nullptr ? v : v * from(gate + i);
      });
}

// out[i] = activation(scale[i] * sums[i] + bias[i]) * gate[i] + residual[i] for n columns of a row;
// what is null is left out. out may be gate or residual.
static void finish_row(const float* sums, const float* scale, const float* bias,
                       uint32_t activation, const float* gate, const float* residual, size_t n,
                       float* out) {
  for_row(
      n, out, [&](size_t i, auto from) __attribute__((always_inline)) {
        Floats v = from(sums + i);
        if (scale != nullptr) v *= from(scale + i);
        if (bias != nullptr) v += from(bias + i);
        if (activation == kGelu) v = gelu(v);
        if (activation == kSilu) v = silu(v);
        if (activation == kRelu2) v = relu2(v);
        if (gate != nullptr) v *= from(gate + i);
        if (residual != nullptr) v += from(residual + i);
        return v;
      });
}

// sum over i of exp(x[i] - largest), in double.
static double sum_of_exps(const float* x, float largest, size_t n) {
  constexpr size_t kBlock = 64;  // vectors that float32 adds up
  double total = 0;
  size_t i = 0;
  while (i + kWidth <= n) {
    Floats partial = {};
    for (size_t v = 0; v < kBlock && i + kWidth <= n; ++v, i += kWidth) {
      partial += exp(load(x + i) - splat(largest));
    }
    for (size_t lane = 0; lane < kWidth; ++lane) total += static_cast<double>(partial[lane]);
  }
  for (; i < n; ++i) total += static_cast<double>(exp(splat(x[i] - largest))[0]);
  return total;
}

}  // namespace ssm::cpu::SSM_LEVEL
