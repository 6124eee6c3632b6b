#include "metal/quantized_matmul.h"

#include "native/metal/linear.h"
#include "native/metal/quantized.h"

namespace ssm::metal {

namespace {

// A lane takes whole words, all of one group, of five bits those of 32 values.
LaneValues lane_values(const QuantizedMatmulParams& p) {
  if (p.bits == 8) return {.most = 16, .least = 8};
  if (p.bits == 5) return {.most = 32, .least = 32};
  return {.most = std::min(32u, p.group_size), .least = 16};
}

}  // namespace

void quantized_matmul(const Operation& operation, Program& program) {
  const auto p = operation.params<QuantizedMatmulParams>();
  const LaneValues lane = lane_values(p);
  add_linear<QuantizedMatmulParams>(operation, program,
                                    {.matvec = "quantized_matvec",
                                     .matmat = "quantized_matmat",
                                     .weight = "words",
                                     .type_of_weight = "scales",
                                     .norm_step = lane.most,
                                     .is_quantised = true,
                                     .aligns_weight = p.bits == 4 || p.bits == 8,
                                     .lane = lane,
                                     .constants = constants_of(p)});
}

}  // namespace ssm::metal
