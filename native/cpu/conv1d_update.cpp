// One token of the causal depthwise convolution with bias and SiLU; the ring of inputs is updated
// in place. Formula and ring: conv1d.h.
#include <algorithm>
#include <vector>

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
    std::vector<const float*> taps(p.width);
    for (size_t b = begin; b < end; ++b) {
      float* ring = state + b * p.width * p.channels;
      const int64_t now = position[b];
      std::copy_n(x + b * p.x_stride, p.channels, ring + ring_row(now, p.width) * p.channels);
      for (uint32_t k = 0; k < p.width; ++k) {
        taps[k] = ring + ring_row(now - p.width + 1 + k, p.width) * p.channels;
      }
      conv1d_row(taps.data(), w, bias, out + b * p.channels, p.channels, p.width);
    }
  });
}

}  // namespace ssm::cpu
