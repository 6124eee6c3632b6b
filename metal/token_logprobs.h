// Parameters of token_logprobs, written by the host, read by the kernel. What a slot asks for is
// the last word of its SampleSelection.
#pragma once
#include "metal/operation.h"
#include "metal/sample.h"

struct TokenLogprobsParams {
  uint32_t batch;
  uint32_t slots;
  uint32_t vocabulary;
  uint32_t places;      // tokens that a slot has room for: the drawn one and its alternatives
  uint32_t has_logits;  // whether logits are given; else those of `kept` are reported on
};
SSM_OPERATION(TokenLogprobsParams, reads(logits, optional), reads(rows), reads(selection),
              reads(token), reads(kept), updates_slots(reported), updates_slots(logprobs));
