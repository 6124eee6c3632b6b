// out[r, c] = (x[r, c] - mean) * rsqrt(variance + eps) * w[c] + bias[c]
// where variance is the mean of (x[r, :] - mean)^2, computed after the mean, so that a row far from
// zero loses no digits. (Ba, Kiros and Hinton, "Layer normalization", 2016)
#include "metal/layer_norm.h"

#include <cmath>
#include <vector>

#include "native/cpu/dot.h"
#include "native/cpu/operations.h"

namespace ssm::cpu {

void layer_norm(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<LayerNormParams>();
  const auto* x = operation.data<const float>(0);     // (rows, cols), rows x_stride apart
  const auto* w = operation.data<const float>(1);     // (cols)
  const auto* bias = operation.data<const float>(2);  // (cols), if has_bias
  auto* out = operation.data<float>(3);               // (rows, cols)
  threads.parallel_for(p.rows, 6 * p.cols, [&](size_t begin, size_t end) {
    const std::vector<float> ones(p.cols, 1.0f);
    std::vector<float> centred(p.cols);
    for (size_t r = begin; r < end; ++r) {
      const float* row = x + r * p.x_stride;
      const float mean = dot(row, ones.data(), p.cols) / static_cast<float>(p.cols);
      for (size_t c = 0; c < p.cols; ++c) centred[c] = row[c] - mean;
      const float variance =
          dot(centred.data(), centred.data(), p.cols) / static_cast<float>(p.cols);
      const float scale = 1.0f / std::sqrt(variance + p.eps);
      for (size_t c = 0; c < p.cols; ++c) {
        out[r * p.cols + c] = centred[c] * scale * w[c] + (p.has_bias ? bias[c] : 0.0f);
      }
    }
  });
}

}  // namespace ssm::cpu
