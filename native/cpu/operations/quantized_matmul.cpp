// out[r, n] = activation(scale[n] * sum over k of norm(x)[r, k] * (scale * q[n, k] + bias of the
// group)
//             + bias[n]) * gate[r, n] + residual[r, n]; what is absent is left out.
// Each weight row is turned into float32 and then used as in matmul.
#include "metal/quantized_matmul.h"

#include <vector>

#include "native/cpu/dot.h"
#include "native/cpu/linear.h"
#include "native/cpu/operations.h"
#include "native/cpu/quantized.h"

namespace ssm::cpu {

void quantized_matmul(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<QuantizedMatmulParams>();
  const LinearInput x(operation, p, 6);
  const QuantizedMatrix w = quantized_matrix(operation, 1, p.inputs, p);
  const LinearOutput out(operation, p, 4);
  const size_t cost = (size_t{p.rows} + 2) * p.inputs;
  threads.parallel_for(p.outputs, cost, [&](size_t begin, size_t end) {
    std::vector<float> row(p.inputs);
    for (size_t n = begin; n < end; ++n) {
      w.dequantize_row(n, row.data());
      for (size_t r = 0; r < p.rows; ++r) out.store(r, n, dot(x.row(r), row.data(), p.inputs));
    }
  });
}

}  // namespace ssm::cpu
