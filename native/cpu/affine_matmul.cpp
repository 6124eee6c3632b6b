// out[r, n] = sum over k of x[r, k] * (scale * q[n, k] + bias) (+ bias[n])
// Each weight row is turned into float32 and then used as in matmul.
#include <vector>

#include "affine.h"
#include "dot.h"
#include "operations.h"

namespace ssm::cpu {

void affine_matmul(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<AffineMatmulParams>();
  const auto* x = operation.data<const float>(0);  // (rows, inputs), rows x_stride apart
  const AffineMatrix w = affine_matrix(operation, 1, p.inputs, p.bits, p.group_size);
  const auto* bias = operation.data<const float>(4);  // (outputs), if has_bias
  auto* out = operation.data<float>(5);               // (rows, outputs)
  const size_t cost = (size_t{p.rows} + 2) * p.inputs;
  threads.parallel_for(p.outputs, cost, [&](size_t begin, size_t end) {
    std::vector<float> row(p.inputs);
    for (size_t n = begin; n < end; ++n) {
      w.dequantize_row(n, row.data());
      for (size_t r = 0; r < p.rows; ++r) {
        const float sum = dot(x + r * p.x_stride, row.data(), p.inputs);
        out[r * p.outputs + n] = p.has_bias ? sum + bias[n] : sum;
      }
    }
  });
}

}  // namespace ssm::cpu
