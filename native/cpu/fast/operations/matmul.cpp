// The matrix product of native/cpu/operations/matmul.cpp.
#include "metal/matmul.h"

#include "native/cpu/fast/linear.h"
#include "native/cpu/fast/mat_mat_blas.h"
#include "native/cpu/fast/weights.h"
#include "native/cpu/operations.h"

namespace ssm::cpu::fast {

void matmul(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
  const auto p = operation.params<MatmulParams>();
  const FloatWeight weight = {.weights = operation.data<const void>(1),
                              .type = operation.bindings[1].type,
                              .inputs = p.inputs,
                              .kernels = kernels};
  if (p.step == 0) return multiply_many(operation, p, 2, threads, kernels, weight);
  LinearInput x(operation, p, 4);
  x.norm_rows(threads, kernels);
  const LinearOutput out(operation, p, 2);
  multiply_step(p, weight.row_bytes(), out, threads, kernels,
                [&](size_t first, size_t count, size_t row, size_t rows, float* sums) {
                  weight.multiply(first, count, x.row(row), x.stride(), rows, sums);
                });
}

}  // namespace ssm::cpu::fast
