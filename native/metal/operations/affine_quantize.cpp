#include "native/metal/grid.h"

namespace ssm::metal {

void affine_quantize(const Operation& operation, Program& program) {
  const auto p = operation.params<AffineQuantizeParams>();
  auto dispatch = make_dispatch<AffineQuantizeParams>(
      kernel_name("affine_quantize", operation, {0, 2}), operation, 0b1110);
  // One simdgroup a group of columns.
  const uint64_t groups = uint64_t{p.rows} * (p.cols / p.group_size);
  dispatch.threads = {threads_for(256, 256, program.limits())};
  const uint32_t simdgroups = dispatch.threads.x / kSimdWidth;
  dispatch.threadgroups = {static_cast<uint32_t>((groups + simdgroups - 1) / simdgroups)};
  program.add(dispatch);
}

}  // namespace ssm::metal
