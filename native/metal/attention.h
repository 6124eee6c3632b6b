// What the two attention operations share.
#pragma once

#include "metal/tile_shape.h"
#include "native/metal/dispatch.h"

namespace ssm::metal {

inline void require_head_dim(const Operation& operation, uint32_t head_dim) {
  if (head_dim <= kLargestHead) return;
  throw std::invalid_argument("[" + std::string(operation.info().api_name) +
                              "] headDim must be at most " + std::to_string(kLargestHead) +
                              " on Metal but is " + std::to_string(head_dim));
}

}  // namespace ssm::metal
