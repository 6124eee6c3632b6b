// Parameters of mamba2_update, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct Mamba2UpdateParams {
  uint32_t batch;
  uint32_t slots;  // of the state tensors; a row whose slot is not below it does nothing
  uint32_t heads;
  uint32_t head_dim;
  uint32_t d_state;
  uint32_t groups;  // head h reads B and C of group h / (heads / groups)
  uint32_t width;   // taps of the convolution, rows of the conv state
  uint32_t has_bias;
  uint32_t activation;        // enum Activation, after the convolution: kSilu or kIdentity
  uint32_t norm_before_gate;  // 1: squares are of y, else of y * silu(z)
  uint32_t gate_after;        // 1: columns x | B | C | z | dt, else z | x | B | C | dt
  uint32_t discrete;          // 1: dt decides the decay alone
  float dt_min;               // softplus(dt + dt_bias) is clamped to [dt_min, dt_max]
  float dt_max;
};
SSM_OPERATION(Mamba2UpdateParams, reads(zxBCdt), reads(convWeight), reads(convBias, optional),
              updates_slots(convState), reads(A), reads(D), reads(dtBias), updates_slots(ssmState),
              reads(position), reads(rows), writes(out), writes(squares));
