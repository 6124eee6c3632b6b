// Parameters of conv1d_update, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct Conv1dUpdateParams {
  uint32_t batch;
  uint32_t slots;     // of the state tensors; a row whose slot is not below it does nothing
  uint32_t channels;  // conv_dim = d_inner + 2 * n_groups * d_state
  uint32_t width;     // d_conv: taps, and rows of the ring
  uint32_t x_stride;  // elements from one sequence of x to the next
  uint32_t has_bias;
};
SSM_OPERATION(Conv1dUpdateParams, reads(x), reads(weight), reads(bias, optional),
              updates_slots(state), reads(position), reads(rows), writes(out));
