// One token of the causal depthwise convolution with bias and SiLU; the ring of inputs is updated
// in place. Formula and ring: conv1d.h.
#include "conv1d.h"
#include "operations.h"

namespace ssm::cpu {

void conv1d_update(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<Conv1dUpdateParams>();
  const auto* x = operation.data<const float>(0);            // (batch, channels)
  const auto* w = operation.data<const float>(1);            // (channels, width)
  const auto* bias = operation.data<const float>(2);         // (channels), if has_bias
  auto* state = operation.data<float>(3);                    // (batch, width, channels)
  const auto* position = operation.data<const uint32_t>(4);  // (batch)
  auto* out = operation.data<float>(5);                      // (batch, channels)
  threads.parallel_for(p.batch, size_t{p.channels} * p.width * 4, [&](size_t begin, size_t end) {
    for (size_t b = begin; b < end; ++b) {
      conv1d_step(x + b * p.x_stride, position[b], w, bias, state + b * p.width * p.channels,
                  out + b * p.channels, p.channels, p.width);
    }
  });
}

}  // namespace ssm::cpu
