// The matrix product of native/cpu/operations/quantized_matmul.cpp.
#include "metal/quantized_matmul.h"

#include "native/cpu/fast/linear.h"
#include "native/cpu/fast/mat_mat_blas.h"
#include "native/cpu/fast/weights.h"
#include "native/cpu/operations.h"

namespace ssm::cpu::fast {

void quantized_matmul(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
  const auto p = operation.params<QuantizedMatmulParams>();
  const QuantizedMatrix w = quantized_matrix(operation, 1, p.inputs, p);
  const QuantizedWeight weight{w, kernels};
  if (p.step == 0) return multiply_many(operation, p, 4, threads, kernels, weight);
  LinearInput x(operation, p, 6);
  x.norm_rows(threads, kernels);
  const LinearOutput out(operation, p, 4);
  const size_t stride = weight.prepared_size();
  const auto prepared = std::make_unique_for_overwrite<float[]>(p.rows * stride);
  threads.parallel_for(p.rows, 2 * size_t{p.inputs}, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) weight.prepare(x.row(r), prepared.get() + r * stride);
  });
  multiply_step(p, weight.row_bytes(), out, threads, kernels,
                [&](size_t first, size_t count, size_t row, size_t rows, float* sums) {
                  weight.multiply(first, count, prepared.get() + row * stride, stride, rows, sums);
                });
}

}  // namespace ssm::cpu::fast
