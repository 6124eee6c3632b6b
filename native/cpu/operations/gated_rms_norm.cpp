// The norm between the scan and out_proj of a Mamba-2 layer, in either order:
//   norm_before_gate 0: out = rms(x * silu(z)) * w        1: out = rms(x) * w * silu(z)
// where rms divides by the root mean square of each group of `group_cols` columns.
// (mamba_ssm: RMSNormGated)
#include "metal/gated_rms_norm.h"

#include <cmath>
#include <vector>

#include "native/cpu/activations.h"
#include "native/cpu/dot.h"
#include "native/cpu/operations.h"

namespace ssm::cpu {

void gated_rms_norm(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<GatedRmsNormParams>();
  const auto* x = operation.data<const float>(0);  // (rows, cols), rows x_stride apart
  const auto* z = operation.data<const float>(1);  // (rows, cols), rows z_stride apart
  const auto* w = operation.data<const float>(2);  // (cols)
  auto* out = operation.data<float>(3);            // (rows, cols); may be x
  threads.parallel_for(p.rows, 32 * p.cols, [&](size_t begin, size_t end) {
    std::vector<float> value(p.group_cols);
    for (size_t r = begin; r < end; ++r) {
      for (size_t first = 0; first < p.cols; first += p.group_cols) {
        const float* xs = x + r * p.x_stride + first;
        const float* zs = z + r * p.z_stride + first;
        for (size_t c = 0; c < p.group_cols; ++c) {
          value[c] = p.norm_before_gate ? xs[c] : xs[c] * silu(zs[c]);
        }
        const float mean_square =
            dot(value.data(), value.data(), p.group_cols) / static_cast<float>(p.group_cols);
        const float scale = 1.0f / std::sqrt(mean_square + p.eps);
        float* result = out + r * p.cols + first;
        for (size_t c = 0; c < p.group_cols; ++c) {
          const float normed = value[c] * scale * w[first + c];
          result[c] = p.norm_before_gate ? normed * silu(zs[c]) : normed;
        }
      }
    }
  });
}

}  // namespace ssm::cpu
