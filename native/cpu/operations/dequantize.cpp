// out[r, c] = scale * q[r, c] + bias (affine.h)
#include "metal/dequantize.h"

#include <type_traits>
#include <vector>

#include "native/cpu/operations.h"
#include "native/cpu/quantized.h"

namespace ssm::cpu {

void dequantize(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<DequantizeParams>();
  const QuantizedMatrix w = quantized_matrix(operation, 0, p.cols, p);
  with_float_type(operation.bindings[3].type, [&](auto* type) {
    using Out = std::remove_const_t<std::remove_pointer_t<decltype(type)>>;
    auto* out = operation.data<Out>(3);  // (rows, cols)
    threads.parallel_for(p.rows, p.cols * 4, [&](size_t begin, size_t end) {
      std::vector<float> row(p.cols);
      for (size_t r = begin; r < end; ++r) {
        w.dequantize_row(r, row.data());
        for (size_t c = 0; c < p.cols; ++c) out[r * p.cols + c] = from_float<Out>(row[c]);
      }
    });
  });
}

}  // namespace ssm::cpu
