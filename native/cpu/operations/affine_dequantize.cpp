// out[r, c] = scale * q[r, c] + bias (affine.h)
#include "metal/affine_dequantize.h"

#include <type_traits>
#include <vector>

#include "native/cpu/affine.h"
#include "native/cpu/operations.h"

namespace ssm::cpu {

void affine_dequantize(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<AffineDequantizeParams>();
  const AffineMatrix w = affine_matrix(operation, 0, p.cols, p.bits, p.group_size);
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
