#include "native/metal/grid.h"

namespace ssm::metal {

void affine_dequantize(const Operation& operation, Program& program) {
  const auto p = operation.params<AffineDequantizeParams>();
  auto dispatch = make_dispatch<AffineDequantizeParams>(
      kernel_name("affine_dequantize", operation, {1, 3}), operation, 0b1000);
  one_thread_each(dispatch, p.cols / (32 / p.bits), p.rows, program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
