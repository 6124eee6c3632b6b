// What lies between the projections of a Mamba-2 layer, for one token.
#pragma once

#include "metal/types.h"
#include "native/cpu/fast/vector.h"

namespace ssm::cpu::SSM_LEVEL {

// exp, silu and the like of one number, rounded as the lanes of a vector are.
SSM_INLINE float silu(float x) { return silu(splat(x))[0]; }

// The causal depthwise convolution as conv1d_row (native/cpu/conv1d.h): taps[k] are the inputs of
// tap k, the oldest first, w is (channels, width), bias may be null.
//   out[c] = activation(bias[c] + sum over k of w[c, k] * taps[k][c])
static void conv1d_row(const float* const* taps, const float* w, const float* bias, size_t channels,
                       size_t width, uint32_t activation, float* out) {
  size_t c = 0;
  for (; c + kWidth <= channels; c += kWidth) {
    Floats sum = bias != nullptr ? load(bias + c) : Floats{};
    for (size_t k = 0; k < width; ++k) {
      Floats weight;
      for (size_t lane = 0; lane < kWidth; ++lane) weight[lane] = w[(c + lane) * width + k];
      sum += weight * load(taps[k] + c);
    }
    store(out + c, activation == kSilu ? silu(sum) : sum);
  }
  for (; c < channels; ++c) {
    float sum = bias != nullptr ? bias[c] : 0.0f;
    for (size_t k = 0; k < width; ++k) sum += w[c * width + k] * taps[k][c];
    out[c] = activation == kSilu ? silu(sum) : sum;
  }
}

// One token of the recurrence for one head, as native/cpu/ssd.h has it. The state S (head_dim,
// d_state) is read and written once, from its beginning to its end: that is what the machine can
// prefetch.
static void ssd_step(const float* x, float factor, float decay, const float* B, const float* C,
                     float D, float* S, float* y, size_t head_dim, size_t d_state) {
  for (size_t row = 0; row < head_dim; ++row, S += d_state) {
    const float input = factor * x[row];
    Floats total = {};
    size_t n = 0;
    for (; n + kWidth <= d_state; n += kWidth) {
      const Floats s = splat(decay) * load(S + n) + splat(input) * load(B + n);
      store(S + n, s);
      total += s * load(C + n);
    }
    float rest = 0.0f;
    for (; n < d_state; ++n) {
      S[n] = decay * S[n] + input * B[n];
      rest += S[n] * C[n];
    }
    y[row] = sum(total) + rest + D * x[row];
  }
}

// out[i] = x[i] * silu(z[i]); out may be x.
static void gate_row(const float* x, const float* z, size_t n, float* out) {
  size_t i = 0;
  for (; i + kWidth <= n; i += kWidth) store(out + i, load(x + i) * silu(load(z + i)));
  for (; i < n; ++i) out[i] = x[i] * silu(z[i]);
}

}  // namespace ssm::cpu::SSM_LEVEL
