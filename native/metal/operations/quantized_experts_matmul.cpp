#include "metal/quantized_experts_matmul.h"

#include "native/metal/experts.h"
#include "native/metal/quantized.h"

namespace ssm::metal {

void quantized_experts_matmul(const Operation& operation, Program& program) {
  const auto p = operation.params<QuantizedExpertsMatmulParams>();
  add_experts<QuantizedExpertsMatmulParams>(operation,
                                            {.matvec = "quantized_experts_matmul",
                                             .matmat = "quantized_experts_matmat",
                                             .type_of_weight = "scales",
                                             .is_quantised = true,
                                             .constants = constants_of(p)},
                                            program);
}

}  // namespace ssm::metal
