// The causal depthwise convolution that conv1d_update, conv1d_prefill and mamba2_update share. What
// computes a row of channels (`row`, as conv1d_row) is the loop here or a kernel of cpu/fast/.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "metal/conv1d_prefill.h"
#include "metal/conv1d_update.h"
#include "native/cpu/activations.h"
#include "native/cpu/operations.h"

namespace ssm::cpu {

// The conv state is a ring of `width` rows of channels: the input at absolute position q lies in
// row q mod width. Rows that no token has written yet are zero, which is the padding on the left.
inline size_t ring_row(int64_t position, uint32_t width) {
  const int64_t row = position % static_cast<int64_t>(width);
  return static_cast<size_t>(row < 0 ? row + width : row);
}

// out[c] = activation(bias[c] + sum over k of w[c, k] * taps[k][c]), k from the oldest input to the
// newest; bias may be null. The activation is kSilu or kIdentity.
inline void conv1d_row(const float* const* taps, const float* w, const float* bias, size_t channels,
                       size_t width, uint32_t activation, float* out) {
  for (size_t c = 0; c < channels; ++c) {
    float sum = bias ? bias[c] : 0.0f;
    for (size_t k = 0; k < width; ++k) sum += w[c * width + k] * taps[k][c];
    out[c] = activation == kSilu ? silu(sum) : sum;
  }
}

// One token of one sequence, for any part of its channels.
class ConvStep {
 public:
  // ring (width, channels), w (channels, width), bias (channels) or null.
  ConvStep(float* ring, uint32_t position, const float* w, const float* bias, size_t channels,
           uint32_t width, uint32_t activation)
      : newest_(ring + ring_row(position, width) * channels),
        w_(w),
        bias_(bias),
        width_(width),
        activation_(activation) {
    for (uint32_t k = 0; k < width; ++k) {
      taps_.push_back(ring + ring_row(int64_t{position} - width + 1 + k, width) * channels);
    }
  }

  // Channels [first, first + count): x (count) enters the ring, out (count) is their convolution.
  // `taps` has room for width pointers.
  template <class Row>
  void run(const Row& row, const float* x, size_t first, size_t count, const float** taps,
           float* out) const {
    std::copy_n(x, count, newest_ + first);
    for (uint32_t k = 0; k < width_; ++k) taps[k] = taps_[k] + first;
    row(taps, w_ + first * width_, bias_ ? bias_ + first : nullptr, count, width_, activation_,
        out);
  }

 private:
  std::vector<float*> taps_;  // rows of the ring, the oldest first
  float* newest_;
  const float* w_;
  const float* bias_;
  uint32_t width_;
  uint32_t activation_;
};

inline void multiply_row(const float* x, const float* gate, size_t n, float* out) {
  for (size_t i = 0; i < n; ++i) out[i] = x[i] * gate[i];
}

// conv1d_update.
template <class Row>
void update_conv1d(const Operation& operation, ThreadPool& threads, const Row& row) {
  const auto p = operation.params<Conv1dUpdateParams>();
  const auto* x = operation.data<const float>(0);            // (batch, channels)
  const auto* w = operation.data<const float>(1);            // (channels, width)
  const auto* bias = operation.data<const float>(2);         // (channels), if has_bias
  const auto* input_gate = operation.data<const float>(3);   // (batch, channels), if gated
  const auto* output_gate = operation.data<const float>(4);  // (batch, channels), if gated
  auto* state = operation.data<float>(5);                    // (slots, width, channels)
  const auto* position = operation.data<const uint32_t>(6);  // (batch)
  const auto* rows = operation.data<const uint32_t>(7);      // (batch), each slot once
  auto* out = operation.data<float>(8);                      // (batch, channels)
  threads.parallel_for(p.batch, size_t{p.channels} * (p.width + 4), [&](size_t begin, size_t end) {
    std::vector<const float*> taps(p.width);
    std::vector<float> gated(p.gated != 0 ? p.channels : 0);
    for (size_t b = begin; b < end; ++b) {
      if (rows[b] >= p.slots) continue;
      float* ring = state + size_t{rows[b]} * p.width * p.channels;
      const float* input = x + b * p.x_stride;
      float* result = out + b * p.channels;
      if (p.gated != 0) {
        multiply_row(input, input_gate + b * p.input_gate_stride, p.channels, gated.data());
        input = gated.data();
      }
      const ConvStep step(ring, position[b], w, bias, p.channels, p.width, p.activation);
      step.run(row, input, 0, p.channels, taps.data(), result);
      if (p.gated != 0) {
        multiply_row(result, output_gate + b * p.output_gate_stride, p.channels, result);
      }
    }
  });
}

// conv1d_prefill: row(taps, out) computes all channels of a token.
template <class Row>
void prefill_conv1d(const Operation& operation, ThreadPool& threads, const Row& row) {
  const auto p = operation.params<Conv1dPrefillParams>();
  const auto* x = operation.data<const float>(0);            // (batch, length, channels)
  const auto* input_gate = operation.data<const float>(3);   // (batch, length, channels), if gated
  const auto* output_gate = operation.data<const float>(4);  // (batch, length, channels), if gated
  auto* state = operation.data<float>(5);                    // (slots, width, channels)
  const auto* position = operation.data<const uint32_t>(6);  // (batch)
  const auto* rows = operation.data<const uint32_t>(7);      // (batch), each slot once
  auto* out = operation.data<float>(8);                      // (batch, length, channels)
  const size_t tokens = size_t{p.batch} * p.length;
  // What is convolved: rows input_stride apart.
  const float* input = x;
  size_t input_stride = p.x_stride;
  std::unique_ptr<float[]> gated;
  if (p.gated != 0) {
    gated = std::make_unique_for_overwrite<float[]>(tokens * p.channels);
    threads.parallel_for(tokens, 2 * size_t{p.channels}, [&](size_t begin, size_t end) {
      for (size_t token = begin; token < end; ++token) {
        multiply_row(x + token * p.x_stride, input_gate + token * p.input_gate_stride, p.channels,
                     gated.get() + token * p.channels);
      }
    });
    input = gated.get();
    input_stride = p.channels;
  }
  threads.parallel_for(tokens, size_t{p.channels} * (p.width + 4), [&](size_t begin, size_t end) {
    std::vector<const float*> taps(p.width);
    for (size_t token = begin; token < end; ++token) {
      const size_t b = token / p.length;
      const int64_t t = static_cast<int64_t>(token % p.length);
      if (rows[b] >= p.slots) continue;
      const float* ring = state + size_t{rows[b]} * p.width * p.channels;
      for (uint32_t k = 0; k < p.width; ++k) {
        const int64_t from = t - p.width + 1 + k;  // in this chunk; before it when negative
        taps[k] = from >= 0 ? input + (b * p.length + from) * input_stride
                            : ring + ring_row(position[b] + from, p.width) * p.channels;
      }
      float* result = out + token * p.channels;
      row(taps.data(), result);
      if (p.gated != 0) {
        multiply_row(result, output_gate + token * p.output_gate_stride, p.channels, result);
      }
    }
  });
  // Only now, when no token needs the old inputs any more.
  for (size_t b = 0; b < p.batch; ++b) {
    if (rows[b] >= p.slots) continue;
    float* ring = state + size_t{rows[b]} * p.width * p.channels;
    for (uint32_t t = p.length - std::min(p.length, p.width); t < p.length; ++t) {
      const size_t newest = ring_row(int64_t{position[b]} + t, p.width);
      std::copy_n(input + (b * p.length + t) * input_stride, p.channels,
                  ring + newest * p.channels);
    }
  }
}

}  // namespace ssm::cpu
