// Parameters of ssd_update, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

enum SsdUpdateShape : uint32_t {
  kStateRows = 4,  // of a simdgroup at a time, at most
};

struct SsdUpdateParams {
  uint32_t batch;
  uint32_t slots;  // of the state tensors; a row whose slot is not below it does nothing
  uint32_t heads;
  uint32_t head_dim;
  uint32_t d_state;
  uint32_t groups;     // head h reads B and C of group h / (heads / groups)
  uint32_t x_stride;   // elements from one sequence of x to the next
  uint32_t dt_stride;  // the same for dt, B and C
  uint32_t b_stride;
  uint32_t c_stride;
  uint32_t discrete;  // 1: dt decides the decay alone
  float dt_min;       // softplus(dt + dt_bias) is clamped to [dt_min, dt_max]
  float dt_max;
};
SSM_OPERATION(SsdUpdateParams, reads(x), reads(dt), reads(A), reads(B), reads(C), reads(D),
              reads(dtBias), updates_slots(state), reads(rows), writes(out));
