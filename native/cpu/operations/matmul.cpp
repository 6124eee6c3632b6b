// out[r, n] = activation(scale[n] * sum over k of norm(x)[r, k] * w[n, k] + bias[n]) * gate[r, n]
//             + residual[r, n]; what is absent is left out. Order of accumulation: dot.h
#include "metal/matmul.h"

#include <type_traits>
#include <vector>

#include "native/cpu/dot.h"
#include "native/cpu/linear.h"
#include "native/cpu/operations.h"

namespace ssm::cpu {

void matmul(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<MatmulParams>();
  const LinearInput x(operation, p, 4);
  const LinearOutput out(operation, p, 2);
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
          out.store(
              r, n,
              convert ? dot(x.row(r), converted.data(), p.inputs) : dot(x.row(r), row, p.inputs));
        }
      }
    });
  });
}

}  // namespace ssm::cpu
