// The activation of native/cpu/operations/mlp_activation.cpp.
#include "metal/mlp_activation.h"

#include "native/cpu/operations.h"

namespace ssm::cpu::fast {

void mlp_activation(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
  const auto p = operation.params<MlpActivationParams>();
  const auto* x = operation.data<const float>(0);     // (count)
  const auto* gate = operation.data<const float>(1);  // (count), if gated
  auto* out = operation.data<float>(2);               // (count); may be x
  threads.parallel_for(p.count, 4, [&](size_t begin, size_t end) {
    kernels.activate(x + begin, p.activation, p.gated ? gate + begin : nullptr, end - begin,
                     out + begin);
  });
}

}  // namespace ssm::cpu::fast
