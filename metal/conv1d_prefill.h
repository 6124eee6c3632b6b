// Parameters of conv1d_prefill, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct Conv1dPrefillParams {
  uint32_t batch;
  uint32_t slots;     // of the state tensors; a row whose slot is not below it does nothing
  uint32_t length;    // tokens of this chunk
  uint32_t channels;  // of Mamba-2 d_inner + 2 * n_groups * d_state
  uint32_t width;     // d_conv: taps, and rows of the ring
  uint32_t x_stride;  // elements from one token of x to the next
  uint32_t input_gate_stride;  // the same for inputGate and outputGate
  uint32_t output_gate_stride;
  uint32_t has_bias;
  uint32_t gated;       // 1: x and the result are multiplied by their gates
  uint32_t activation;  // enum Activation: kSilu or kIdentity
};
SSM_OPERATION(Conv1dPrefillParams, reads(x), reads(weight), reads(bias, optional),
              reads(inputGate, optional), reads(outputGate, optional), updates_slots(state),
              reads(position), reads(rows), writes(out));

enum Conv1dPrefillShape : uint32_t {
  kConvTokens = 8,  // that a thread of conv1d_prefill computes
};
