// Parameters of conv1d_update, written by the host, read by the kernel.
#pragma once
#include "metal/types.h"

struct Conv1dUpdateParams {
  uint32_t batch;
  uint32_t slots;     // of the state tensors; a row whose slot is not below it does nothing
  uint32_t channels;  // conv_dim = d_inner + 2 * n_groups * d_state
  uint32_t width;     // d_conv: taps, and rows of the ring
  uint32_t x_stride;  // elements from one sequence of x to the next
  uint32_t has_bias;
};
static_assert(sizeof(Conv1dUpdateParams) == 24, "one layout for host and kernel");
