#include "metal/affine_matmul.h"

#include "native/metal/linear.h"

namespace ssm::metal {

void affine_matmul(const Operation& operation, Program& program) {
  const uint32_t bits = operation.params<AffineMatmulParams>().bits;
  const std::string suffix = std::to_string(bits);
  add_linear<AffineMatmulParams>(
      operation, program,
      {.matvec = "affine_matvec_" + suffix,
       .matmat = "affine_matmat_" + suffix,
       .weight = "words",
       .type_of_weight = "scales",
       .norm_step = 4 * (32 / bits),  // a lane takes up to four words at a time
       .bits = bits});
}

}  // namespace ssm::metal
