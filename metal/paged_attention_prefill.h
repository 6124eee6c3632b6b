// Parameters of paged_attention_prefill, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct PagedAttentionPrefillParams {
  uint32_t batch;
  uint32_t slots;       // rows of the table of pages; a row whose slot is not below it does nothing
  uint32_t page_count;  // of keys and values; a row that needs a page not below it does nothing
  uint32_t pages_per_slot;  // columns of the table of pages
  uint32_t length;          // tokens of each sequence
  uint32_t heads;           // query heads
  uint32_t kv_heads;        // query head h reads key/value head h / (heads / kv_heads)
  uint32_t head_dim;
  uint32_t gated;     // 1: behind each head of q are as many numbers of its gate
  uint32_t q_stride;  // elements from one token of q to the next
  float scale;        // of the scores, usually 1 / sqrt(head_dim)
};
SSM_OPERATION(PagedAttentionPrefillParams, reads(q), reads_pages(keys), reads_pages(values),
              reads_slots(pages), reads(position), reads(rows), writes(out));
