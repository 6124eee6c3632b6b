// Parameters of conv1d_prefill, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct Conv1dPrefillParams {
  uint32_t batch;
  uint32_t slots;     // of the state tensors; a row whose slot is not below it does nothing
  uint32_t length;    // tokens of this chunk
  uint32_t channels;  // conv_dim = d_inner + 2 * n_groups * d_state
  uint32_t width;     // d_conv: taps, and rows of the ring
  uint32_t x_stride;  // elements from one token of x to the next
  uint32_t has_bias;
};
SSM_OPERATION(Conv1dPrefillParams, reads(x), reads(weight), reads(bias, optional),
              updates_slots(state), reads(position), reads(rows), writes(out));

enum Conv1dPrefillShape : uint32_t {
  kConvTokens = 8,  // that a thread of conv1d_prefill computes
};
