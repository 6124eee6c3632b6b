// out[r, :] = a[r, :] ‖ b[r, :]
#include "metal/concatenate.h"

#include <algorithm>

#include "native/cpu/operations.h"

namespace ssm::cpu {

void concatenate(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<ConcatenateParams>();
  const auto* a = operation.data<const float>(0);  // (rows, a_cols), rows a_stride apart
  const auto* b = operation.data<const float>(1);  // (rows, b_cols), rows b_stride apart
  auto* out = operation.data<float>(2);            // (rows, a_cols + b_cols)
  const size_t cols = size_t{p.a_cols} + p.b_cols;
  threads.parallel_for(p.rows, cols, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      std::copy_n(a + r * p.a_stride, p.a_cols, out + r * cols);
      std::copy_n(b + r * p.b_stride, p.b_cols, out + r * cols + p.a_cols);
    }
  });
}

}  // namespace ssm::cpu
