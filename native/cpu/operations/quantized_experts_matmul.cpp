// out[i, n] = activation(sum over k of x[i / sharing, k] * w[chosen[i] * expert_rows + n, k])
//             * gate[i, n]; what is absent is left out. Each row of the weight is turned into
// float32 and then used as in experts_matmul.
#include "metal/quantized_experts_matmul.h"

#include "native/cpu/dot.h"
#include "native/cpu/experts.h"
#include "native/cpu/operations.h"
#include "native/cpu/quantized.h"

namespace ssm::cpu {

void quantized_experts_matmul(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<QuantizedExpertsMatmulParams>();
  const auto* x = operation.data<const float>(0);  // rows x_stride apart
  const QuantizedMatrix w = quantized_matrix(operation, 1, p.inputs, p);
  const auto* chosen = operation.data<const uint32_t>(4);  // (rows)
  const ExpertsOutput out(operation, p, 6);
  multiply_by_expert(
      chosen, p, threads,
      [&](size_t row, size_t n, const std::vector<size_t>& products, float* weights) {
        w.dequantize_row(row, weights);
        for (const size_t i : products) {
          out.store(i, n, dot(x + i / p.sharing * p.x_stride, weights, p.inputs));
        }
      });
}

}  // namespace ssm::cpu
