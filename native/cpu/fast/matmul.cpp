// The matrix product of native/cpu/matmul.cpp.
#include "cpu/fast/linear.h"
#include "cpu/fast/mat_mat.h"
#include "cpu/fast/operations.h"

namespace ssm::cpu::fast {

void matmul(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
  const auto p = operation.params<MatmulParams>();
  const DataType type = operation.bindings[1].type;
  const auto* w = operation.data<const void>(1);  // (outputs, inputs)
  if (p.rows > kMatVecRows) {
    return multiply_matrix(operation, p, 2, threads, kernels,
                           [&](size_t first, size_t count, size_t col, size_t depth, float* to) {
                             const PlainRows rows = {w, type, p.inputs, first, count};
                             kernels.pack_plain(rows, col, depth, to);
                           });
  }
  const Rows x(operation, p, 3, kernels);
  const LinearOutput out(operation, p, 2);
  multiply_rows(p, p.inputs * size_of(type), out, threads,
                [&](size_t first, size_t count, float* sums) {
                  const PlainRows rows = {w, type, p.inputs, first, count};
                  kernels.mat_vec(rows, x.row(0), x.stride(), p.rows, sums);
                });
}

}  // namespace ssm::cpu::fast
