// Parameters of route_experts, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct RouteExpertsParams {
  uint32_t rows;  // tokens (batch x length)
  uint32_t experts;
  uint32_t chosen;       // experts of a token
  uint32_t groups;       // of experts, up to 32; 1: no groups
  uint32_t kept_groups;  // the groups that a token's experts are chosen from
  uint32_t sigmoid;      // 1: scores are the sigmoids of logits; 0: their softmax
  uint32_t normalised;   // 1: weights are divided by their sum
  uint32_t has_bias;
  float epsilon;  // added to that sum
  float scale;    // of weights
};
SSM_OPERATION(RouteExpertsParams, reads(logits), reads(bias, optional), writes(experts),
              writes(weights));
