#include "metal/group_experts.h"

#include "native/metal/grid.h"

namespace ssm::metal {

void group_experts(const Operation& operation, Program& program) {
  const auto p = operation.params<GroupExpertsParams>();
  auto dispatch = make_dispatch<GroupExpertsParams>("group_experts", operation);
  dispatch.threads = {threads_for(p.experts * kSimdWidth, 1024, program.limits())};
  const auto bytes =
      static_cast<uint32_t>(round_up((uint64_t{p.experts} + 1) * sizeof(uint32_t), 16));
  require(program.limits(), operation, dispatch.threads.x, bytes);
  dispatch.threadgroup_memory = {{0, bytes}};
  program.add(dispatch);
}

}  // namespace ssm::metal
