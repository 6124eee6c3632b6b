#include "grid.h"

namespace ssm::metal {

void embedding(const Operation& operation, Program& program) {
  const auto p = operation.params<EmbeddingParams>();
  const std::string kernel = "embedding" + type_suffix(operation, 1);
  auto dispatch = make_dispatch<EmbeddingParams>(kernel.c_str(), operation, 0b100);
  one_thread_each(dispatch, ceil_divide(p.cols, 4), p.rows, program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
