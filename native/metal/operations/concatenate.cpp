#include "metal/concatenate.h"

#include <algorithm>

#include "native/metal/grid.h"

namespace ssm::metal {

void concatenate(const Operation& operation, Program& program) {
  const auto p = operation.params<ConcatenateParams>();
  auto dispatch =
      make_dispatch<ConcatenateParams>(kernel_name("concatenate", operation, {"a"}), operation);
  one_thread_each(dispatch, ceil_divide(std::max(p.a_cols, p.b_cols), 4), p.rows, program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
