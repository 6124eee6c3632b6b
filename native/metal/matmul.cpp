#include "grid.h"

namespace ssm::metal {

void matmul(const Operation& operation, Program& program) {
  const auto p = operation.params<MatmulParams>();
  const bool few = p.rows <= kVectorRows;
  const std::string kernel = (few ? "matvec" : "matmat") + type_suffix(operation, 1);
  auto dispatch = make_dispatch<MatmulParams>(kernel.c_str(), operation, 0b1000);
  set_matmul_grid(dispatch, "matmul", p.rows, p.outputs, p.has_bias, program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
