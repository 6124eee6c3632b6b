// out[r, :] = p.scale * (scale * q[tokens[r], :] + bias)
// MLX looks tables of mxfp4 and nvfp4 up as bfloat16, which holds each of their numbers, and rounds
// the factor and the product to it.
#include "metal/quantized_embedding.h"

#include "native/cpu/operations.h"
#include "native/cpu/quantized.h"
#include "native/cpu/token.h"

namespace ssm::cpu {

namespace {

float rounded(float x) { return to_float(to_bfloat16(x)); }

}  // namespace

void quantized_embedding(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<QuantizedEmbeddingParams>();
  const auto* tokens = operation.data<const uint32_t>(0);  // (rows)
  const QuantizedMatrix table = quantized_matrix(operation, 1, p.cols, p);
  auto* out = operation.data<float>(4);  // (rows, cols)
  const float factor = rounded(p.scale);
  threads.parallel_for(p.rows, p.cols, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      float* row = out + r * p.cols;
      table.dequantize_row(checked_token("quantizedEmbedding", tokens[r], p.vocabulary), row);
      if (p.mode == kAffine) {
        for (size_t c = 0; c < p.cols; ++c) row[c] *= p.scale;
      } else {
        for (size_t c = 0; c < p.cols; ++c) row[c] = rounded(row[c] * factor);
      }
    }
  });
}

}  // namespace ssm::cpu
