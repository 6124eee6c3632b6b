// The activation of native/cpu/operations/mlp_activation.cpp.
#include "metal/mlp_activation.h"

#include <algorithm>

#include "native/cpu/operations.h"

namespace ssm::cpu::fast {

void mlp_activation(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
  const auto p = operation.params<MlpActivationParams>();
  const auto* x = operation.data<const float>(0);     // (rows, cols), rows x_stride apart
  const auto* gate = operation.data<const float>(1);  // (rows, cols), if gated
  auto* out = operation.data<float>(2);               // (rows, cols); may be x or gate
  threads.parallel_for(size_t{p.rows} * p.cols, 4, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end;) {
      const size_t row = i / p.cols, column = i % p.cols;
      const size_t count = std::min(end - i, p.cols - column);
      kernels.activate(x + row * p.x_stride + column, p.activation, p.gated ? gate + i : nullptr,
                       count, out + i);
      i += count;
    }
  });
}

}  // namespace ssm::cpu::fast
