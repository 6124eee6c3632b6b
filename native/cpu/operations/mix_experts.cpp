// out[r, c] = scale * sum over i of weights[r, i] * x[r * chosen + i, c] + residual[r, c]
#include "metal/mix_experts.h"

#include "native/cpu/operations.h"

namespace ssm::cpu {

void mix_experts(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<MixExpertsParams>();
  const auto* x = operation.data<const float>(0);         // (rows * chosen, cols)
  const auto* weights = operation.data<const float>(1);   // (rows, chosen)
  const auto* residual = operation.data<const float>(2);  // (rows, cols)
  auto* out = operation.data<float>(3);                   // (rows, cols); may be residual
  threads.parallel_for(size_t{p.rows} * p.cols, p.chosen, [&](size_t begin, size_t end) {
    for (size_t at = begin; at < end; ++at) {
      const size_t r = at / p.cols, c = at % p.cols;
      float sum = 0.0f;
      for (size_t i = r * p.chosen; i < (r + 1) * p.chosen; ++i) {
        sum += weights[i] * x[i * p.cols + c];
      }
      sum *= p.scale;
      out[at] = residual == nullptr ? sum : sum + residual[at];
    }
  });
}

}  // namespace ssm::cpu
