#include "metal/gated_rms_norm.h"

#include "native/metal/grid.h"

namespace ssm::metal {

void gated_rms_norm(const Operation& operation, Program& program) {
  const auto p = operation.params<GatedRmsNormParams>();
  auto dispatch =
      make_dispatch<GatedRmsNormParams>(kernel_name("gated_rms_norm", operation, {"x"}), operation);
  one_threadgroup_each(dispatch, p.cols / p.group_cols, p.rows, ceil_divide(p.group_cols, 4), 256,
                       sizeof(float), program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
