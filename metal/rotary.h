// Parameters of rotary, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct RotaryParams {
  uint32_t batch;
  uint32_t length;  // tokens of each sequence
  uint32_t heads;
  uint32_t head_dim;
  uint32_t rotary_dim;     // columns of a head that turn, from the first on: even; 0: none
  uint32_t interleaved;    // 1: columns 2i and 2i + 1 are a pair; 0: i and i + rotary_dim / 2
  uint32_t x_stride;       // elements from one token of x to the next
  uint32_t x_head_stride;  // elements from one head of a token to the next
  uint32_t out_stride;     // the same of out
  uint32_t out_head_stride;
  float eps;               // of the norm
  float attention_factor;  // of sine and cosine
};
SSM_OPERATION(RotaryParams, reads(x), reads(normWeight, optional), reads(frequencies, optional),
              reads(position, optional), writes(out));
