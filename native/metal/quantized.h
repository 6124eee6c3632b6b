// What the dispatch code of operations on quantised matrices shares.
#pragma once

#include "native/metal/dispatch.h"

namespace ssm::metal {

// The constants of metal/quantized.h.
template <class Params>
std::vector<Constant> constants_of(const Params& p) {
  return {{"mode", p.mode}, {"value_bits", p.bits}, {"has_biases", p.mode == kAffine}};
}

}  // namespace ssm::metal
