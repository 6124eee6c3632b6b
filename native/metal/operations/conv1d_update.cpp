#include "metal/conv1d_update.h"

#include "metal/conv1d_shape.h"
#include "native/metal/dispatch.h"

namespace ssm::metal {

void conv1d_update(const Operation& operation, Program& program) {
  const auto p = operation.params<Conv1dUpdateParams>();
  auto dispatch =
      make_dispatch<Conv1dUpdateParams>(kernel_name("conv1d_update", operation, {"x"}), operation);
  dispatch.constants = {{"has_bias", p.has_bias},
                        {"gated", p.gated},
                        {"taps", p.width <= kMostTaps ? p.width : 0},
                        {"with_silu", p.activation == kSilu}};
  dispatch.threads = {std::min(256u, program.limits().max_threads)};
  dispatch.threadgroups = {ceil_divide(p.channels, dispatch.threads.x), p.batch};
  program.add(dispatch);
}

}  // namespace ssm::metal
