// out[r, :] = scale * table[tokens[r], :]
#include "metal/embedding.h"

#include <type_traits>

#include "native/cpu/operations.h"
#include "native/cpu/token.h"

namespace ssm::cpu {

void embedding(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<EmbeddingParams>();
  const auto* tokens = operation.data<const uint32_t>(0);  // (rows)
  auto* out = operation.data<float>(2);                    // (rows, cols)
  with_float_type(operation.bindings[1].type, [&](auto* type) {
    const auto* table =
        operation.data<std::remove_pointer_t<decltype(type)>>(1);  // (vocabulary, cols)
    threads.parallel_for(p.rows, p.cols, [&](size_t begin, size_t end) {
      for (size_t r = begin; r < end; ++r) {
        const auto* row = table + checked_token("embedding", tokens[r], p.vocabulary) * p.cols;
        for (size_t c = 0; c < p.cols; ++c) out[r * p.cols + c] = p.scale * to_float(row[c]);
      }
    });
  });
}

}  // namespace ssm::cpu
