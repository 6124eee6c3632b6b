// Parameters of quantized_experts_matmul, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct QuantizedExpertsMatmulParams {
  uint32_t rows;      // products: chosen experts of all tokens
  uint32_t sharing;   // products that share a row of x
  uint32_t inputs;    // columns of x; a multiple of group_size
  uint32_t outputs;   // of an expert, columns of out
  uint32_t x_stride;  // elements from one row of x to the next
  uint32_t experts;
  uint32_t expert_rows;  // rows of the weight from one expert to the next
  uint32_t mode;         // a QuantizedMode
  uint32_t bits;         // of a value
  uint32_t group_size;   // columns that share a scale, and a bias where there are biases
  uint32_t activation;   // an Activation
  uint32_t gated;        // 1: times gate
};
SSM_OPERATION(QuantizedExpertsMatmulParams, reads(x), looks_up(words), looks_up(scales),
              looks_up(biases, optional), reads(chosen), reads(tiles, optional),
              reads(gate, optional), writes(out));
