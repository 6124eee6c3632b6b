#include "metal/keep_logits.h"

#include "native/metal/grid.h"

namespace ssm::metal {

void keep_logits(const Operation& operation, Program& program) {
  const auto p = operation.params<KeepLogitsParams>();
  auto dispatch = make_dispatch<KeepLogitsParams>("keep_logits_float32", operation);
  one_thread_each(dispatch, ceil_divide(p.vocabulary, 4), p.batch, program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
