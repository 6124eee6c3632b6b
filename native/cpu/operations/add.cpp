// out[i] = a[i] + b[i]
#include "metal/add.h"

#include "native/cpu/operations.h"

namespace ssm::cpu {

void add(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<AddParams>();
  const auto* a = operation.data<const float>(0);  // (count)
  const auto* b = operation.data<const float>(1);  // (count)
  auto* out = operation.data<float>(2);            // (count); may be a or b
  threads.parallel_for(p.count, 1, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) out[i] = a[i] + b[i];
  });
}

}  // namespace ssm::cpu
