// The loss of native/cpu/operations/cross_entropy.cpp.
#include "metal/cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "native/cpu/operations.h"
#include "native/cpu/token.h"

namespace ssm::cpu::fast {

void cross_entropy(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
  const auto p = operation.params<CrossEntropyParams>();
  const auto* logits = operation.data<const float>(0);      // (rows, vocabulary)
  const auto* targets = operation.data<const uint32_t>(1);  // (rows)
  auto* out = operation.data<float>(2);                     // (rows)
  threads.parallel_for(p.rows, size_t{p.vocabulary} * 4, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      const float* row = logits + r * p.vocabulary;
      const size_t target = checked_token("crossEntropy", targets[r], p.vocabulary);
      const float largest = *std::max_element(row, row + p.vocabulary);
      const double sum = kernels.sum_of_exps(row, largest, p.vocabulary);
      out[r] = static_cast<float>(double{largest} + std::log(sum) - double{row[target]});
    }
  });
}

}  // namespace ssm::cpu::fast
