#include "bad_data.h"

#include <cmath>
#include <stdexcept>
#include <type_traits>

#include "data_type.h"
#include "largest.h"
#include "params.h"

namespace ssm::metal {

namespace {

constexpr uint32_t kNoToken = 0xffffffff;

void check_argmax(const Operation& operation) {
  const auto p = operation.params<ArgmaxParams>();
  const auto* x = operation.data<const float>(0);
  const auto* out = operation.data<const uint32_t>(1);
  for (size_t r = 0; r < p.rows; ++r) {
    // Says which one is NaN.
    if (out[r] == kNoToken) cpu::largest("argmax", x + r * p.cols, p.cols);
  }
}

void check_sample(const Operation& operation) {
  const auto p = operation.params<SampleParams>();
  const auto* logits = operation.data<const float>(0);
  const auto* out = operation.data<const uint32_t>(5);
  for (size_t b = 0; b < p.batch; ++b) {
    if (out[b] != kNoToken) continue;
    cpu::largest("sample", logits + b * p.vocabulary, p.vocabulary);
    throw std::domain_error("[sample] the largest logit is infinite: no token can be drawn");
  }
}

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
    switch (operation.kind) {
      case OperationKind::argmax:
        check_argmax(operation);
        break;
      case OperationKind::sample:
        check_sample(operation);
        break;
      case OperationKind::affine_quantize:
        check_affine_quantize(operation);
        break;
      default:
        break;
    }
  }
}

}  // namespace ssm::metal
