#include "metal/dequantize.h"

#include "native/metal/grid.h"
#include "native/metal/quantized.h"

namespace ssm::metal {

void dequantize(const Operation& operation, Program& program) {
  const auto p = operation.params<DequantizeParams>();
  auto dispatch = make_dispatch<DequantizeParams>(
      kernel_name("dequantize", operation, {"scales", "out"}), operation);
  dispatch.constants = constants_of(p);
  one_thread_each(dispatch, p.cols / 8, p.rows, program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
