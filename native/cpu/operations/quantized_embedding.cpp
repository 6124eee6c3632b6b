// out[r, :] = p.scale * (scale * q[tokens[r], :] + bias)
#include "metal/quantized_embedding.h"

#include "native/cpu/operations.h"
#include "native/cpu/quantized.h"
#include "native/cpu/token.h"

namespace ssm::cpu {

void quantized_embedding(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<QuantizedEmbeddingParams>();
  const auto* tokens = operation.data<const uint32_t>(0);  // (rows)
  const QuantizedMatrix table = quantized_matrix(operation, 1, p.cols, p);
  auto* out = operation.data<float>(4);  // (rows, cols)
  threads.parallel_for(p.rows, p.cols, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      float* row = out + r * p.cols;
      table.dequantize_row(checked_token("quantizedEmbedding", tokens[r], p.vocabulary), row);
      for (size_t c = 0; c < p.cols; ++c) row[c] *= p.scale;
    }
  });
}

}  // namespace ssm::cpu
