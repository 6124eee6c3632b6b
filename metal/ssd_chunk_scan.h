// Parameters of ssd_chunk_scan, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct SsdChunkScanParams {
  uint32_t batch;
  uint32_t slots;   // of the state tensors; a row whose slot is not below it does nothing
  uint32_t length;  // tokens in x
  uint32_t heads;
  uint32_t head_dim;
  uint32_t d_state;
  uint32_t groups;      // head h reads B and C of group h / (heads / groups)
  uint32_t chunk_size;  // tokens a chunk of the SSD form; the last one may be shorter
  uint32_t x_stride;    // elements from one token of x to the next
  uint32_t dt_stride;   // the same for dt, B and C
  uint32_t b_stride;
  uint32_t c_stride;
  uint32_t discrete;  // 1: dt decides the decay alone
  float dt_min;       // softplus(dt + dt_bias) is clamped to [dt_min, dt_max]
  float dt_max;
};
SSM_OPERATION(SsdChunkScanParams, reads(x), reads(dt), reads(A), reads(B), reads(C), reads(D),
              reads(dtBias), updates_slots(state), reads(rows), writes(out));
