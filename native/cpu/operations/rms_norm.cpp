// out[r, c] = x[r, c] * rsqrt(mean(x[r, :]^2) + eps) * w[c]
// (Zhang and Sennrich, "Root mean square layer normalization", 2019)
#include "metal/rms_norm.h"

#include <cmath>

#include "native/cpu/dot.h"
#include "native/cpu/operations.h"

namespace ssm::cpu {

void rms_norm(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<RmsNormParams>();
  const auto* x = operation.data<const float>(0);  // (rows, cols), rows x_stride apart
  const auto* w = operation.data<const float>(1);  // (cols)
  auto* out = operation.data<float>(2);            // (rows, cols)
  threads.parallel_for(p.rows, 4 * p.cols, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      const float* row = x + r * p.x_stride;
      const float mean_square = dot(row, row, p.cols) / static_cast<float>(p.cols);
      const float scale = 1.0f / std::sqrt(mean_square + p.eps);
      for (size_t c = 0; c < p.cols; ++c) out[r * p.cols + c] = row[c] * scale * w[c];
    }
  });
}

}  // namespace ssm::cpu
