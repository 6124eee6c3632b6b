// out[r, n] = sum over k of x[r, k] * w[n, k] (+ bias[n]); order of accumulation: dot.h
#include <type_traits>
#include <vector>

#include "dot.h"
#include "operations.h"

namespace ssm::cpu {

void matmul(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<MatmulParams>();
  const auto* x = operation.data<const float>(0);     // (rows, inputs), rows x_stride apart
  const auto* bias = operation.data<const float>(2);  // (outputs), if has_bias
  auto* out = operation.data<float>(3);               // (rows, outputs)
  with_float_type(operation.bindings[1].type, [&](auto* type) {
    using Weight = std::remove_pointer_t<decltype(type)>;
    const auto* w = operation.data<Weight>(1);  // (outputs, inputs)
    const size_t cost = size_t{p.rows} * p.inputs;
    threads.parallel_for(p.outputs, cost, [&](size_t begin, size_t end) {
      // With several rows of x a weight row is converted once, not once for each of them.
      const bool convert = p.rows > 1 && !std::is_same_v<Weight, const float>;
      std::vector<float> converted(convert ? p.inputs : 0);
      for (size_t n = begin; n < end; ++n) {
        const Weight* row = w + n * p.inputs;
        if (convert) {
          for (size_t k = 0; k < p.inputs; ++k) converted[k] = to_float(row[k]);
        }
        for (size_t r = 0; r < p.rows; ++r) {
          const float* xr = x + r * p.x_stride;
          const float sum = convert ? dot(xr, converted.data(), p.inputs) : dot(xr, row, p.inputs);
          out[r * p.outputs + n] = p.has_bias ? sum + bias[n] : sum;
        }
      }
    });
  });
}

}  // namespace ssm::cpu
