#include "native/metal/linear.h"

namespace ssm::metal {

void matmul(const Operation& operation, Program& program) {
  add_linear<MatmulParams>(operation, program, {"matmul", "matvec", "matmat", 1, 3, 7, 1, 0});
}

}  // namespace ssm::metal
