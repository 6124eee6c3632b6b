#include "metal/add.h"

#include "native/metal/grid.h"

namespace ssm::metal {

void add(const Operation& operation, Program& program) {
  const auto p = operation.params<AddParams>();
  auto dispatch = make_dispatch<AddParams>(kernel_name("add", operation, {"a"}), operation);
  one_thread_each(dispatch, ceil_divide(p.count, 4), 1, program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
