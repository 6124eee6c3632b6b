// out[i] = x[i], bit by bit
#include "metal/copy.h"

#include <cstring>

#include "native/cpu/operations.h"

namespace ssm::cpu {

void copy(const Operation& operation, ThreadPool& threads) {
  const auto p = operation.params<CopyParams>();
  const size_t size = size_of(operation.bindings[0].type);
  const auto* x = operation.data<const std::byte>(0);  // (count)
  auto* out = operation.data<std::byte>(1);            // (count)
  threads.parallel_for(p.count, 1, [&](size_t begin, size_t end) {
    std::memcpy(out + begin * size, x + begin * size, (end - begin) * size);
  });
}

}  // namespace ssm::cpu
