// What host and kernels must agree on for one token of the convolution.
#pragma once
#include "metal/types.h"

enum Conv1dShape : uint32_t {
  kMostTaps = 4,  // that kernels are compiled for; wider convolutions take a loop
};
