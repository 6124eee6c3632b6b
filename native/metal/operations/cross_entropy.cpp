#include "metal/cross_entropy.h"

#include "native/metal/grid.h"

namespace ssm::metal {

void cross_entropy(const Operation& operation, Program& program) {
  const auto p = operation.params<CrossEntropyParams>();
  auto dispatch = make_dispatch<CrossEntropyParams>("cross_entropy_float32", operation);
  one_threadgroup_each(dispatch, p.rows, 1, ceil_divide(p.vocabulary, 4), 1024,
                       2 * sizeof(uint32_t), program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
