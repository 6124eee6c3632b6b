#include "grid.h"

namespace ssm::metal {

void cast(const Operation& operation, Program& program) {
  const auto p = operation.params<CastParams>();
  const std::string kernel = "cast" + type_suffix(operation, 0) + type_suffix(operation, 1);
  auto dispatch = make_dispatch<CastParams>(kernel.c_str(), operation, 0b10);
  one_thread_each(dispatch, ceil_divide(p.count, 4), 1, program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
