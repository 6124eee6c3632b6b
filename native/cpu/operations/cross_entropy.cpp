// out[r] = log(sum over v of exp(logits[r, v])) - logits[r, targets[r]]
// The negative log-likelihood of the target, in nats; the sum in double.
#include "metal/cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "native/cpu/operations.h"
#include "native/cpu/token.h"

namespace ssm::cpu {

void cross_entropy(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<CrossEntropyParams>();
  const auto* logits = operation.data<const float>(0);      // (rows, vocabulary)
  const auto* targets = operation.data<const uint32_t>(1);  // (rows)
  auto* out = operation.data<float>(2);                     // (rows)
  threads.parallel_for(p.rows, size_t{p.vocabulary} * 20, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      const float* row = logits + r * p.vocabulary;
      const size_t target = checked_token("crossEntropy", targets[r], p.vocabulary);
      const double largest = *std::max_element(row, row + p.vocabulary);
      double sum = 0;
      for (size_t v = 0; v < p.vocabulary; ++v) sum += std::exp(row[v] - largest);
      out[r] = static_cast<float>(largest + std::log(sum) - row[target]);
    }
  });
}

}  // namespace ssm::cpu
