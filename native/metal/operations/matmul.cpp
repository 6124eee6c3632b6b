#include "metal/matmul.h"

#include "native/metal/linear.h"

namespace ssm::metal {

void matmul(const Operation& operation, Program& program) {
  add_linear<MatmulParams>(operation, program,
                           {.matvec = "matvec",
                            .matmat = "matmat",
                            .weight = "weight",
                            .type_of_weight = "weight",
                            .norm_step = 1});
}

}  // namespace ssm::metal
