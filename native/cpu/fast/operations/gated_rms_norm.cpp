// What native/cpu/operations/gated_rms_norm.cpp computes.
#include "metal/gated_rms_norm.h"

#include <cmath>

#include "native/cpu/operations.h"

namespace ssm::cpu::fast {

void gated_rms_norm(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
  const auto p = operation.params<GatedRmsNormParams>();
  const auto* x = operation.data<const float>(0);  // (rows, cols), rows x_stride apart
  const auto* z = operation.data<const float>(1);  // (rows, cols), rows z_stride apart
  const auto* w = operation.data<const float>(2);  // (cols)
  auto* out = operation.data<float>(3);            // (rows, cols); may be x
  threads.parallel_for(p.rows, 4 * p.cols, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      for (size_t first = 0; first < p.cols; first += p.group_cols) {
        const float* xs = x + r * p.x_stride + first;
        const float* zs = z + r * p.z_stride + first;
        float* result = out + r * p.cols + first;
        // What is normed: x, or x gated, which has its place in the result already.
        if (p.norm_before_gate == 0) kernels.gate_row(xs, zs, p.group_cols, result);
        const float* values = p.norm_before_gate == 0 ? result : xs;
        const float mean_square =
            kernels.sum_of_squares(values, p.group_cols) / static_cast<float>(p.group_cols);
        const float scale = 1.0f / std::sqrt(mean_square + p.eps);
        kernels.scale_row(values, w + first, scale, p.group_cols, result);
        if (p.norm_before_gate != 0) kernels.gate_row(result, zs, p.group_cols, result);
      }
    }
  });
}

}  // namespace ssm::cpu::fast
