// Parameters of kv_pages_write, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct KvPagesWriteParams {
  uint32_t batch;
  uint32_t slots;       // rows of the table of pages; a row whose slot is not below it does nothing
  uint32_t page_count;  // of keys and values; a token whose page is not below it is not written
  uint32_t pages_per_slot;  // columns of the table of pages
  uint32_t length;          // tokens of each sequence
  uint32_t cols;            // kv_heads * head_dim
  uint32_t k_stride;        // elements from one token of k to the next
  uint32_t v_stride;
};
SSM_OPERATION(KvPagesWriteParams, reads(k), reads(v), updates_pages(keys), updates_pages(values),
              reads_slots(pages), reads(position), reads(rows));
