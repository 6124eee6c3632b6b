// The matrix product of native/cpu/operations/quantized_matmul.cpp.
#include "metal/quantized_matmul.h"

#include "native/cpu/fast/linear.h"
#include "native/cpu/fast/mat_mat_blas.h"
#include "native/cpu/operations.h"
#include "native/cpu/quantized.h"

namespace ssm::cpu::fast {

namespace {

struct QuantizedWeight {
  const QuantizedMatrix& matrix;
  const Kernels& kernels;

  QuantizedRows rows(size_t first, size_t count) const {
    return {.words = matrix.words,
            .scales = matrix.scales,
            .biases = matrix.biases,
            .scale_type = matrix.scale_type,
            .mode = matrix.mode,
            .cols = matrix.cols,
            .bits = matrix.bits,
            .group_size = matrix.group_size,
            .first = first,
            .count = count};
  }
  void pack(size_t first, size_t count, size_t col, size_t depth, float* to) const {
    kernels.pack_quantized(rows(first, count), col, depth, to);
  }
  void unpack(size_t first, size_t count, float* to) const {
    for (size_t n = 0; n < count; ++n) matrix.dequantize_row(first + n, to + n * matrix.cols);
  }
};

}  // namespace

void quantized_matmul(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
  const auto p = operation.params<QuantizedMatmulParams>();
  const QuantizedMatrix w = quantized_matrix(operation, 1, p.inputs, p);
  const QuantizedWeight weight{w, kernels};
  if (p.step == 0) return multiply_many(operation, p, 4, threads, kernels, weight);
  LinearInput x(operation, p, 6);
  x.norm_rows(threads, kernels);
  const LinearOutput out(operation, p, 4);
  const size_t stride = kernels.quantized_packed_size(weight.rows(0, 0));
  const auto packed = std::make_unique_for_overwrite<float[]>(p.rows * stride);
  threads.parallel_for(p.rows, 2 * size_t{p.inputs}, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      kernels.quantized_pack(weight.rows(0, 0), x.row(r), packed.get() + r * stride);
    }
  });
  multiply_step(p, size_t{p.inputs} * p.bits / 8, out, threads, kernels,
                [&](size_t first, size_t count, size_t row, size_t rows, float* sums) {
                  kernels.quantized_mat_vec(weight.rows(first, count), packed.get() + row * stride,
                                            stride, rows, sums);
                });
}

}  // namespace ssm::cpu::fast
