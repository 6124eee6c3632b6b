// The norm of native/cpu/gated_rms_norm.cpp.
#include "cpu/fast/operations.h"

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
        kernels.gated_norm(x + r * p.x_stride + first, z + r * p.z_stride + first, w + first, p.eps,
                           p.norm_before_gate != 0, p.group_cols, out + r * p.cols + first);
      }
    }
  });
}

}  // namespace ssm::cpu::fast
