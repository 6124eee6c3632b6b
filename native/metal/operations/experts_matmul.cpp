#include "metal/experts_matmul.h"

#include "native/metal/experts.h"

namespace ssm::metal {

void experts_matmul(const Operation& operation, Program& program) {
  add_experts<ExpertsMatmulParams>(
      operation,
      {.matvec = "experts_matmul", .matmat = "experts_matmat", .type_of_weight = "weight"},
      program);
}

}  // namespace ssm::metal
