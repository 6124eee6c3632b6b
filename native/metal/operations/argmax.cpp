#include "metal/argmax.h"

#include "native/metal/grid.h"

namespace ssm::metal {

void argmax(const Operation& operation, Program& program) {
  const auto p = operation.params<ArgmaxParams>();
  auto dispatch = make_dispatch<ArgmaxParams>("argmax_float32", operation);
  one_threadgroup_each(dispatch, p.rows, 1, ceil_divide(p.cols, 4), 1024, 2 * sizeof(uint32_t),
                       program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
