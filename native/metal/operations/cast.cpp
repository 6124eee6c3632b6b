#include "metal/cast.h"

#include "native/metal/grid.h"

namespace ssm::metal {

void cast(const Operation& operation, Program& program) {
  const auto p = operation.params<CastParams>();
  auto dispatch =
      make_dispatch<CastParams>(kernel_name("cast", operation, {"x", "out"}), operation);
  one_thread_each(dispatch, ceil_divide(p.count, 4), 1, program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
