// The convolution of native/cpu/conv1d_prefill.cpp. Its weights are transposed first, so that
// neighbouring channels lie side by side.
#include <algorithm>

#include "cpu/conv1d.h"
#include "cpu/fast/operations.h"
#include "cpu/fast/scratch.h"

namespace ssm::cpu::fast {

void conv1d_prefill(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
  const auto p = operation.params<Conv1dPrefillParams>();
  const auto* x = operation.data<const float>(0);            // (batch, length, channels)
  const auto* w = operation.data<const float>(1);            // (channels, width)
  const auto* bias = operation.data<const float>(2);         // (channels), if has_bias
  auto* state = operation.data<float>(3);                    // (batch, width, channels)
  const auto* position = operation.data<const uint32_t>(4);  // (batch)
  auto* out = operation.data<float>(5);                      // (batch, length, channels)
  float* weights = scratch<Scratch::kShared>(size_t{p.width} * p.channels);  // (width, channels)
  for (size_t c = 0; c < p.channels; ++c) {
    for (size_t k = 0; k < p.width; ++k) weights[k * p.channels + c] = w[c * p.width + k];
  }
  const size_t rows = size_t{p.batch} * p.length;
  threads.parallel_for(rows, size_t{p.channels} * (p.width + 4), [&](size_t begin, size_t end) {
    std::vector<const float*> taps(p.width);
    for (size_t row = begin; row < end; ++row) {
      const size_t b = row / p.length;
      const int64_t t = static_cast<int64_t>(row % p.length);
      const float* ring = state + b * p.width * p.channels;
      for (uint32_t k = 0; k < p.width; ++k) {
        const int64_t from = t - p.width + 1 + k;  // in this chunk; before it when negative
        taps[k] = from >= 0 ? x + (b * p.length + from) * p.x_stride
                            : ring + ring_row(position[b] + from, p.width) * p.channels;
      }
      kernels.conv1d_transposed_row(taps.data(), weights, bias, p.channels, p.width,
                                    out + row * p.channels);
    }
  });
  // Only now, when no token needs the old inputs any more.
  for (size_t b = 0; b < p.batch; ++b) {
    for (uint32_t t = p.length - std::min(p.length, p.width); t < p.length; ++t) {
      const size_t row = ring_row(int64_t{position[b]} + t, p.width);
      std::copy_n(x + (b * p.length + t) * p.x_stride, p.channels,
                  state + (b * p.width + row) * p.channels);
    }
  }
}

}  // namespace ssm::cpu::fast
