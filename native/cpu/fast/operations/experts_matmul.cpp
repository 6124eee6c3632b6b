// The matrix product of native/cpu/operations/experts_matmul.cpp.
#include "metal/experts_matmul.h"

#include "native/cpu/fast/experts.h"
#include "native/cpu/fast/weights.h"
#include "native/cpu/operations.h"

namespace ssm::cpu::fast {

void experts_matmul(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
  const auto p = operation.params<ExpertsMatmulParams>();
  const FloatWeight weight = {.weights = operation.data<const void>(1),
                              .type = operation.bindings[1].type,
                              .inputs = p.inputs,
                              .kernels = kernels};
  multiply_experts(operation, p, 2, threads, kernels, weight);
}

}  // namespace ssm::cpu::fast
