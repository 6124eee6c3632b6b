// Parameters of delta_chunk_scan, written by the host, read by the kernels.
#pragma once
#include "metal/operation.h"

struct DeltaChunkScanParams {
  uint32_t batch;
  uint32_t slots;      // of the state tensor; a row whose slot is not below it does nothing
  uint32_t length;     // tokens in v
  uint32_t key_heads;  // heads of q and k
  uint32_t heads;      // heads of v; head h reads q and k of head h / (heads / key_heads)
  uint32_t key_dim;    // of a head of q or k, columns of the state
  uint32_t value_dim;  // of a head of v, rows of the state
  uint32_t q_stride;   // elements from one token of q to the next
  uint32_t k_stride;   // the same for k, v, b and a
  uint32_t v_stride;
  uint32_t b_stride;
  uint32_t a_stride;
  float eps;    // added to the sum of squares of a head of q or k
  float scale;  // of q, after its norm
};
SSM_OPERATION(DeltaChunkScanParams, reads(q), reads(k), reads(v), reads(b), reads(a), reads(A),
              reads(dtBias), updates_slots(state), reads(rows), writes(out));
