#include "grid.h"

namespace ssm::metal {

void affine_dequantize(const Operation& operation, Program& program) {
  const auto p = operation.params<AffineDequantizeParams>();
  const std::string kernel =
      "affine_dequantize" + type_suffix(operation, 1) + type_suffix(operation, 3);
  auto dispatch = make_dispatch<AffineDequantizeParams>(kernel.c_str(), operation, 0b1000);
  one_thread_each(dispatch, p.cols / (32 / p.bits), p.rows, program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
