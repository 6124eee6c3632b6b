// Parameters of experts_matmul, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct ExpertsMatmulParams {
  uint32_t rows;      // products: chosen experts of all tokens
  uint32_t sharing;   // products that share a row of x
  uint32_t inputs;    // columns of x and of the weight
  uint32_t outputs;   // of an expert, columns of out
  uint32_t x_stride;  // elements from one row of x to the next
  uint32_t experts;
  uint32_t expert_rows;  // rows of the weight from one expert to the next
  uint32_t activation;   // an Activation
  uint32_t gated;        // 1: times gate
};
SSM_OPERATION(ExpertsMatmulParams, reads(x), looks_up(weight), reads(chosen),
              reads(tiles, optional), reads(gate, optional), writes(out));
