// out[r, c] = activation(x[r, c]) (* gate[r, c])
#include "metal/mlp_activation.h"

#include "native/cpu/activations.h"
#include "native/cpu/operations.h"

namespace ssm::cpu {

void mlp_activation(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<MlpActivationParams>();
  const auto* x = operation.data<const float>(0);     // (rows, cols), rows x_stride apart
  const auto* gate = operation.data<const float>(1);  // (rows, cols), if gated
  auto* out = operation.data<float>(2);               // (rows, cols); may be x or gate
  threads.parallel_for(size_t{p.rows} * p.cols, 30, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      float y = x[i / p.cols * p.x_stride + i % p.cols];
      if (p.activation == kGelu) y = gelu(y);
      if (p.activation == kSilu) y = silu(y);
      if (p.activation == kRelu2) y = relu2(y);
      out[i] = p.gated ? y * gate[i] : y;
    }
  });
}

}  // namespace ssm::cpu
