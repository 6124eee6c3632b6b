#include "metal/rms_norm.h"

#include "native/metal/grid.h"

namespace ssm::metal {

void rms_norm(const Operation& operation, Program& program) {
  const auto p = operation.params<RmsNormParams>();
  auto dispatch =
      make_dispatch<RmsNormParams>(kernel_name("rms_norm", operation, {"x", "out"}), operation);
  one_threadgroup_each(dispatch, p.rows, 1, ceil_divide(p.cols, 4), 256, sizeof(float),
                       program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
