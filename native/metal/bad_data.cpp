#include "native/metal/bad_data.h"

#include <cmath>
#include <stdexcept>
#include <type_traits>

#include "native/data_type.h"
#include "native/params.h"

namespace ssm::metal {

namespace {

void check_affine_quantize(const Operation& operation) {
  const auto p = operation.params<AffineQuantizeParams>();
  const size_t groups = size_t{p.rows} * (p.cols / p.group_size);
  with_float_type(operation.bindings[2].type, [&](auto* type) {
    const auto* scales = operation.data<std::remove_pointer_t<decltype(type)>>(2);
    for (size_t i = 0; i < groups; ++i) {
      if (!std::isnan(to_float(scales[i]))) continue;
      throw std::domain_error("[affineQuantize] weights hold NaN or infinity");
    }
  });
}

}  // namespace

void throw_on_bad_data(const CommandList& list) {
  for (const Operation& operation : list.operations()) {
    if (operation.kind == OperationKind::affine_quantize) check_affine_quantize(operation);
  }
}

}  // namespace ssm::metal
