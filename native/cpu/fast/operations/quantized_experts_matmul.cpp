// The matrix product of native/cpu/operations/quantized_experts_matmul.cpp.
#include "metal/quantized_experts_matmul.h"

#include "native/cpu/fast/experts.h"
#include "native/cpu/fast/weights.h"
#include "native/cpu/operations.h"

namespace ssm::cpu::fast {

void quantized_experts_matmul(const Operation& operation, ThreadPool& threads,
                              const Kernels& kernels) {
  const auto p = operation.params<QuantizedExpertsMatmulParams>();
  const QuantizedMatrix w = quantized_matrix(operation, 1, p.inputs, p);
  multiply_experts(operation, p, 4, threads, kernels, QuantizedWeight{w, kernels});
}

}  // namespace ssm::cpu::fast
