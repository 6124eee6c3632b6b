// The convolution of native/cpu/operations/conv1d_prefill.cpp. Its weights are transposed first, so
// that neighbouring channels lie side by side.
#include "metal/conv1d_prefill.h"

#include "native/cpu/conv1d.h"
#include "native/cpu/fast/scratch.h"
#include "native/cpu/operations.h"

namespace ssm::cpu::fast {

void conv1d_prefill(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
  const auto p = operation.params<Conv1dPrefillParams>();
  const auto* w = operation.data<const float>(1);     // (channels, width)
  const auto* bias = operation.data<const float>(2);  // (channels), if has_bias
  float* weights = scratch<Scratch::kShared>(size_t{p.width} * p.channels);  // (width, channels)
  for (size_t c = 0; c < p.channels; ++c) {
    for (size_t k = 0; k < p.width; ++k) weights[k * p.channels + c] = w[c * p.width + k];
  }
  prefill_conv1d(operation, threads, [&](const float* const* taps, float* out) {
    kernels.conv1d_transposed_row(taps, weights, bias, p.channels, p.width, p.activation, out);
  });
}

}  // namespace ssm::cpu::fast
