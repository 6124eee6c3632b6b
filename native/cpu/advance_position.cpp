// position[b] += count: the tokens that this list has consumed
#include "operations.h"

namespace ssm::cpu {

void advance_position(const Operation& operation, ThreadPool&) {
  const auto p = operation.params<AdvancePositionParams>();
  auto* position = operation.data<uint32_t>(0);  // (batch)
  for (size_t b = 0; b < p.batch; ++b) position[b] += p.count;
}

}  // namespace ssm::cpu
