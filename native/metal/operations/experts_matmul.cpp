#include "metal/experts_matmul.h"

#include "native/metal/experts.h"

namespace ssm::metal {

void experts_matmul(const Operation& operation, Program& program) {
  const auto p = operation.params<ExpertsMatmulParams>();
  auto dispatch = make_dispatch<ExpertsMatmulParams>(
      kernel_name("experts_matmul", operation, {"x", "out", "weight"}), operation,
      KernelBuffers{.written = {"out"}, .without = {"tiles"}});
  add_experts(dispatch, p, program);
}

}  // namespace ssm::metal
