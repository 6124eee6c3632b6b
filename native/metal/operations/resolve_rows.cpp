#include "metal/resolve_rows.h"

#include "native/metal/grid.h"

namespace ssm::metal {

void resolve_rows(const Operation& operation, Program& program) {
  const auto p = operation.params<ResolveRowsParams>();
  auto dispatch = make_dispatch<ResolveRowsParams>("resolve_rows", operation);
  dispatch.constants = {{"has_tokens", p.has_tokens}};
  one_thread_each(dispatch, p.batch, 1, program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
