// A chunk of the causal depthwise convolution with bias, SiLU and gates, continuing from the inputs
// that the ring holds and leaving the last ones of this chunk in it. Formula and ring: conv1d.h.
#include "metal/conv1d_prefill.h"

#include "native/cpu/conv1d.h"
#include "native/cpu/operations.h"

namespace ssm::cpu {

void conv1d_prefill(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<Conv1dPrefillParams>();
  const auto* w = operation.data<const float>(1);     // (channels, width)
  const auto* bias = operation.data<const float>(2);  // (channels), if has_bias
  prefill_conv1d(operation, threads, [&](const float* const* taps, float* out) {
    conv1d_row(taps, w, bias, p.channels, p.width, p.activation, out);
  });
}

}  // namespace ssm::cpu
