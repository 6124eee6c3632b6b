#include "metal/affine_quantize.h"

#include "native/failure.h"
#include "native/metal/grid.h"

namespace ssm::metal {

namespace {

// A kernel cannot throw: a group with NaN or infinity has a scale of NaN.
void expect_no_nan(const Operation& operation) {
  const auto p = operation.params<AffineQuantizeParams>();
  const size_t groups = size_t{p.rows} * (p.cols / p.group_size);
  with_float_type(operation.binding("scales").type, [&](auto* type) {
    const auto* scales = operation.data<std::remove_pointer_t<decltype(type)>>(2);
    for (size_t i = 0; i < groups; ++i) {
      if (!std::isnan(to_float(scales[i]))) continue;
      throw Failed(FailureReason::bad_data, "[affineQuantize] weights hold NaN or infinity");
    }
  });
}

}  // namespace

void affine_quantize(const Operation& operation, Program& program) {
  const auto p = operation.params<AffineQuantizeParams>();
  auto dispatch = make_dispatch<AffineQuantizeParams>(
      kernel_name("affine_quantize", operation, {"weight", "scales"}), operation);
  // One simdgroup a group of columns.
  const uint64_t groups = uint64_t{p.rows} * (p.cols / p.group_size);
  dispatch.threads = {threads_for(256, 256, program.limits())};
  const uint32_t simdgroups = dispatch.threads.x / kSimdWidth;
  dispatch.threadgroups = {static_cast<uint32_t>((groups + simdgroups - 1) / simdgroups)};
  program.add(dispatch);
  program.check_results(operation, expect_no_nan);
}

}  // namespace ssm::metal
