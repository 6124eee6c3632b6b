#include "metal/concatenate.h"

#include <algorithm>

#include "native/metal/grid.h"

namespace ssm::metal {

void concatenate(const Operation& operation, Program& program) {
  const auto p = operation.params<ConcatenateParams>();
  auto dispatch =
      make_dispatch<ConcatenateParams>(kernel_name("concatenate", operation, {"a"}), operation);
  one_threadgroup_each(dispatch, p.rows, 1, ceil_divide(std::max(p.a_cols, p.b_cols), 4), 256, 0,
                       program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
