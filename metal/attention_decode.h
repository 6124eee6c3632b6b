// Parameters of attention_decode, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct AttentionDecodeParams {
  uint32_t batch;
  uint32_t slots;     // of the state tensors; a row whose slot is not below it does nothing
  uint32_t heads;     // query heads
  uint32_t kv_heads;  // query head h reads key/value head h / (heads / kv_heads)
  uint32_t head_dim;
  uint32_t window;    // keys that a token sees, itself included; rows of the ring
  uint32_t q_stride;  // elements from one sequence of q to the next
  uint32_t k_stride;  // the same for k and v
  uint32_t v_stride;
  float scale;  // of the scores, usually 1 / sqrt(head_dim)
};
SSM_OPERATION(AttentionDecodeParams, reads(q), reads(k), reads(v), updates_slots(keys),
              updates_slots(values), reads(position), reads(rows), writes(out));
