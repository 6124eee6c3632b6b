#include "metal/affine_dequantize.h"

#include "native/metal/grid.h"

namespace ssm::metal {

void affine_dequantize(const Operation& operation, Program& program) {
  const auto p = operation.params<AffineDequantizeParams>();
  auto dispatch = make_dispatch<AffineDequantizeParams>(
      kernel_name("affine_dequantize", operation, {"scales", "out"}), operation);
  one_thread_each(dispatch, p.cols / (32 / p.bits), p.rows, program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
