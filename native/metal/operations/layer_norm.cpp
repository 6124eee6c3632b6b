#include "metal/layer_norm.h"

#include "native/metal/grid.h"

namespace ssm::metal {

void layer_norm(const Operation& operation, Program& program) {
  const auto p = operation.params<LayerNormParams>();
  auto dispatch =
      make_dispatch<LayerNormParams>(kernel_name("layer_norm", operation, {"x", "out"}), operation);
  dispatch.constants = {{"has_bias", p.has_bias}};
  one_threadgroup_each(dispatch, p.rows, 1, ceil_divide(p.cols, 4), 256, sizeof(float),
                       program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
