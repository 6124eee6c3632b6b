#include "grid.h"

namespace ssm::metal {

void affine_matmul(const Operation& operation, Program& program) {
  const auto p = operation.params<AffineMatmulParams>();
  const bool few = p.rows <= kVectorRows;
  const std::string kernel = (few ? "affine_matvec_" : "affine_matmat_") + std::to_string(p.bits) +
                             type_suffix(operation, 2);
  auto dispatch = make_dispatch<AffineMatmulParams>(kernel.c_str(), operation, 0b100000);
  set_matmul_grid(dispatch, "affineMatmul", p.rows, p.outputs, p.has_bias, program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
