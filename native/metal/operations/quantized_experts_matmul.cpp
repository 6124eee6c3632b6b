#include "metal/quantized_experts_matmul.h"

#include "native/metal/experts.h"
#include "native/metal/quantized.h"

namespace ssm::metal {

void quantized_experts_matmul(const Operation& operation, Program& program) {
  const auto p = operation.params<QuantizedExpertsMatmulParams>();
  auto dispatch = make_dispatch<QuantizedExpertsMatmulParams>(
      kernel_name("quantized_experts_matmul", operation, {"x", "out", "scales"}), operation,
      KernelBuffers{.written = {"out"}, .without = {"tiles"}});
  dispatch.constants = constants_of(p);
  add_experts(dispatch, p, program);
}

}  // namespace ssm::metal
