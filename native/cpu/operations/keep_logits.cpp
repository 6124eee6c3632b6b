// kept[rows[b]] = logits[b]: what a slot draws from in a later list. A row that has no slot does
// nothing.
#include "metal/keep_logits.h"

#include <algorithm>

#include "native/cpu/operations.h"

namespace ssm::cpu {

void keep_logits(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<KeepLogitsParams>();
  const auto* logits = operation.data<const float>(0);   // (batch, vocabulary)
  const auto* rows = operation.data<const uint32_t>(1);  // (batch), each slot once
  auto* kept = operation.data<float>(2);                 // (slots, vocabulary)
  threads.parallel_for(p.batch, p.vocabulary, [&](size_t begin, size_t end) {
    for (size_t b = begin; b < end; ++b) {
      const size_t s = rows[b];
      if (s >= p.slots) continue;
      std::copy_n(logits + b * p.vocabulary, p.vocabulary, kept + s * p.vocabulary);
    }
  });
}

}  // namespace ssm::cpu
