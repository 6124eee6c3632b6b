// Parameters of paged_attention_decode, written by the host, read by the kernels.
#pragma once
#include "metal/operation.h"

struct PagedAttentionDecodeParams {
  uint32_t batch;
  uint32_t slots;       // rows of the table of pages; a row whose slot is not below it does nothing
  uint32_t page_count;  // of keys and values; a row that needs a page not below it does nothing
  uint32_t pages_per_slot;  // columns of the table of pages
  uint32_t heads;           // query heads
  uint32_t kv_heads;        // query head h reads key/value head h / (heads / kv_heads)
  uint32_t head_dim;
  uint32_t rotary_dim;   // columns of a head of q and k that turn, from the first on: even; 0: none
  uint32_t interleaved;  // 1: columns 2i and 2i + 1 are a pair; 0: i and i + rotary_dim / 2
  uint32_t gated;        // 1: behind each head of q are as many numbers of its gate
  uint32_t q_stride;     // elements from one sequence of q to the next
  uint32_t k_stride;     // the same for k and v
  uint32_t v_stride;
  float eps;               // of the norms of q and k
  float attention_factor;  // of sine and cosine
  float scale;             // of the scores, usually 1 / sqrt(head_dim)
};
SSM_OPERATION(PagedAttentionDecodeParams, reads(q), reads(k), reads(v), reads(qNorm, optional),
              reads(kNorm, optional), reads(frequencies, optional), updates_pages(keys),
              updates_pages(values), reads_slots(pages), reads(position), reads(rows), writes(out));
