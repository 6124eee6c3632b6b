// Parameters of kv_cache_write, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct KvCacheWriteParams {
  uint32_t batch;
  uint32_t slots;   // of the state tensors; a row whose slot is not below it does nothing
  uint32_t length;  // tokens of this chunk; of more than `window` only the last are kept
  uint32_t kv_heads;
  uint32_t head_dim;
  uint32_t window;    // rows of the ring
  uint32_t k_stride;  // elements from one token of k to the next
  uint32_t v_stride;
};
SSM_OPERATION(KvCacheWriteParams, reads(k), reads(v), updates_slots(keys), updates_slots(values),
              reads(position), reads(rows));
