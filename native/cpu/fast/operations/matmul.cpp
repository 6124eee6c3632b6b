// The matrix product of native/cpu/operations/matmul.cpp.
#include "metal/matmul.h"

#include "native/cpu/fast/linear.h"
#include "native/cpu/fast/mat_mat_blas.h"
#include "native/cpu/operations.h"

namespace ssm::cpu::fast {

namespace {

struct FloatWeight {
  const void* weights;  // (outputs, inputs)
  DataType type;
  uint32_t inputs;
  const Kernels& kernels;

  PlainRows rows(size_t first, size_t count) const {
    return {.weights = weights, .type = type, .cols = inputs, .first = first, .count = count};
  }
  void pack(size_t first, size_t count, size_t col, size_t depth, float* to) const {
    kernels.pack_plain(rows(first, count), col, depth, to);
  }
  void unpack(size_t first, size_t count, float* to) const {
    with_float_type(type, [&](auto* typed) {
      const auto* from = static_cast<decltype(typed)>(weights) + first * inputs;
      for (size_t i = 0; i < count * inputs; ++i) to[i] = to_float(from[i]);
    });
  }
};

}  // namespace

void matmul(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
  const auto p = operation.params<MatmulParams>();
  const DataType type = operation.bindings[1].type;
  const FloatWeight weight = {.weights = operation.data<const void>(1),
                              .type = type,
                              .inputs = p.inputs,
                              .kernels = kernels};
  if (p.step == 0) return multiply_many(operation, p, 2, threads, kernels, weight);
  LinearInput x(operation, p, 4);
  x.norm_rows(threads, kernels);
  const LinearOutput out(operation, p, 2);
  multiply_step(p, p.inputs * size_of(type), out, threads, kernels,
                [&](size_t first, size_t count, size_t row, size_t rows, float* sums) {
                  kernels.mat_vec(weight.rows(first, count), x.row(row), x.stride(), rows, sums);
                });
}

}  // namespace ssm::cpu::fast
