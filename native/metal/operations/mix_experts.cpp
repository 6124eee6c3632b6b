#include "metal/mix_experts.h"

#include "native/metal/grid.h"

namespace ssm::metal {

void mix_experts(const Operation& operation, Program& program) {
  const auto p = operation.params<MixExpertsParams>();
  auto dispatch = make_dispatch<MixExpertsParams>(
      kernel_name("mix_experts", operation, {"x", "out"}), operation);
  dispatch.constants = {{"has_residual", p.has_residual}};
  one_thread_each(dispatch, ceil_divide(p.cols, 4), p.rows, program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
