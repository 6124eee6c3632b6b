#include "metal/mlp_activation.h"

#include "native/metal/grid.h"

namespace ssm::metal {

void mlp_activation(const Operation& operation, Program& program) {
  const auto p = operation.params<MlpActivationParams>();
  auto dispatch = make_dispatch<MlpActivationParams>(
      kernel_name("mlp_activation", operation, {"x"}), operation);
  dispatch.constants = {{"gated", p.gated}, {"activation", p.activation}};
  one_thread_each(dispatch, ceil_divide(p.cols, 4), p.rows, program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
