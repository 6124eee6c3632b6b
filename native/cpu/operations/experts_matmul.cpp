// out[i, n] = activation(sum over k of x[i / sharing, k] * w[chosen[i] * expert_rows + n, k])
//             * gate[i, n]; what is absent is left out. Order of accumulation: dot.h
#include "metal/experts_matmul.h"

#include <type_traits>

#include "native/cpu/dot.h"
#include "native/cpu/experts.h"
#include "native/cpu/operations.h"

namespace ssm::cpu {

void experts_matmul(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<ExpertsMatmulParams>();
  const auto* x = operation.data<const float>(0);          // rows x_stride apart
  const auto* chosen = operation.data<const uint32_t>(2);  // (rows)
  const ExpertsOutput out(operation, p, 4);
  with_float_type(operation.bindings[1].type, [&](auto* type) {
    using Weight = std::remove_pointer_t<decltype(type)>;
    const auto* w = operation.data<Weight>(1);
    multiply_by_expert(chosen, p, threads,
                       [&](size_t row, size_t n, const std::vector<size_t>& products, float*) {
                         for (const size_t i : products) {
                           const float* from = x + i / p.sharing * p.x_stride;
                           out.store(i, n, dot(from, w + row * p.inputs, p.inputs));
                         }
                       });
  });
}

}  // namespace ssm::cpu
