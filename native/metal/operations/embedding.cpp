#include "metal/embedding.h"

#include "native/metal/grid.h"

namespace ssm::metal {

void embedding(const Operation& operation, Program& program) {
  const auto p = operation.params<EmbeddingParams>();
  auto dispatch =
      make_dispatch<EmbeddingParams>(kernel_name("embedding", operation, {"table"}), operation);
  one_thread_each(dispatch, ceil_divide(p.cols, 4), p.rows, program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
