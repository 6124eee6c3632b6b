#include "native/metal/linear.h"

namespace ssm::metal {

void affine_matmul(const Operation& operation, Program& program) {
  const uint32_t bits = operation.params<AffineMatmulParams>().bits;
  const std::string suffix = std::to_string(bits);
  // A lane of the mat-vec kernel takes up to four words at a time.
  const uint32_t norm_step = 4 * (32 / bits);
  add_linear<AffineMatmulParams>(operation, program,
                                 {"affine_matmul", "affine_matvec_" + suffix,
                                  "affine_matmat_" + suffix, 2, 5, 9, norm_step, bits});
}

}  // namespace ssm::metal
