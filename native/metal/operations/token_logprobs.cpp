#include "metal/token_logprobs.h"

#include "native/metal/grid.h"

namespace ssm::metal {

void token_logprobs(const Operation& operation, Program& program) {
  const auto p = operation.params<TokenLogprobsParams>();
  auto dispatch = make_dispatch<TokenLogprobsParams>("token_logprobs_float32", operation);
  dispatch.constants = {{"has_logits", p.has_logits}};
  one_threadgroup_each(dispatch, p.batch, 1, ceil_divide(p.vocabulary, 4), 1024,
                       2 * sizeof(uint32_t), program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
