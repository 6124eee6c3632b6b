// What native/cpu/conv1d_update.cpp computes.
#include "cpu/fast/operations.h"
#include "cpu/fast/state_space.h"

namespace ssm::cpu::fast {

void conv1d_update(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
  const auto p = operation.params<Conv1dUpdateParams>();
  const auto* x = operation.data<const float>(0);            // (batch, channels)
  const auto* w = operation.data<const float>(1);            // (channels, width)
  const auto* bias = operation.data<const float>(2);         // (channels), if has_bias
  auto* state = operation.data<float>(3);                    // (batch, width, channels)
  const auto* position = operation.data<const uint32_t>(4);  // (batch)
  auto* out = operation.data<float>(5);                      // (batch, channels)
  threads.parallel_for(p.batch, size_t{p.channels} * p.width, [&](size_t begin, size_t end) {
    std::vector<const float*> taps(p.width);
    for (size_t b = begin; b < end; ++b) {
      const ConvStep step(state + b * p.width * p.channels, position[b], w, bias, p.channels,
                          p.width);
      step.run(kernels, x + b * p.x_stride, 0, p.channels, taps.data(), out + b * p.channels);
    }
  });
}

}  // namespace ssm::cpu::fast
