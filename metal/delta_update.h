// Parameters of delta_update, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct DeltaUpdateParams {
  uint32_t batch;
  uint32_t slots;       // of the state tensors; a row whose slot is not below it does nothing
  uint32_t key_heads;   // heads of q and k
  uint32_t heads;       // heads of v; head h reads q and k of head h / (heads / key_heads)
  uint32_t key_dim;     // of a head of q or k, columns of the state
  uint32_t value_dim;   // of a head of v, rows of the state
  uint32_t width;       // taps of the convolution, rows of the conv state
  uint32_t qkv_stride;  // elements from one sequence of qkv to the next
  uint32_t z_stride;    // the same for z, b and a
  uint32_t b_stride;
  uint32_t a_stride;
  float eps;    // added to the sum of squares of a head of q or k
  float scale;  // of q, after its norm
};
SSM_OPERATION(DeltaUpdateParams, reads(qkv), reads(z), reads(b), reads(a), reads(convWeight),
              updates_slots(convState), reads(A), reads(dtBias), updates_slots(state),
              reads(position), reads(rows), writes(out), writes(squares));
