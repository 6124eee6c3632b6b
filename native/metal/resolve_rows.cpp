#include "grid.h"

namespace ssm::metal {

void advance_position(const Operation& operation, Program& program) {
  const auto p = operation.params<AdvancePositionParams>();
  auto dispatch = make_dispatch<AdvancePositionParams>("advance_position", operation, 0b1);
  one_thread_each(dispatch, p.batch, 1, program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
