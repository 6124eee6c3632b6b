// What native/cpu/operations/rms_norm.cpp computes.
#include "metal/rms_norm.h"

#include <cmath>

#include "native/cpu/operations.h"

namespace ssm::cpu::fast {

void rms_norm(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
  const auto p = operation.params<RmsNormParams>();
  const auto* x = operation.data<const float>(0);  // (rows, cols), rows x_stride apart
  const auto* w = operation.data<const float>(1);  // (cols)
  auto* out = operation.data<float>(2);            // (rows, cols)
  threads.parallel_for(p.rows, p.cols, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      const float* row = x + r * p.x_stride;
      const float mean_square = kernels.sum_of_squares(row, p.cols) / static_cast<float>(p.cols);
      const float scale = 1.0f / std::sqrt(mean_square + p.eps);
      kernels.scale_row(row, w, scale, p.cols, out + r * p.cols);
    }
  });
}

}  // namespace ssm::cpu::fast
