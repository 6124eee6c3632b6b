#include "metal/copy.h"

#include "native/metal/grid.h"

namespace ssm::metal {

void copy(const Operation& operation, Program& program) {
  const auto p = operation.params<CopyParams>();
  const char* kernel = size_of(operation.binding("x").type) == 2 ? "copy_ushort" : "copy_uint";
  auto dispatch = make_dispatch<CopyParams>(kernel, operation);
  one_thread_each(dispatch, ceil_divide(p.count, 4), 1, program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
