// Parameters of quantized_matmul, written by the host, read by the kernel.
#pragma once
#include "metal/operation.h"

struct QuantizedMatmulParams {
  uint32_t rows;        // rows of x (batch x length)
  uint32_t inputs;      // columns of x; a multiple of group_size
  uint32_t outputs;     // rows of the weight, columns of out
  uint32_t x_stride;    // elements from one row of x to the next
  uint32_t mode;        // a QuantizedMode
  uint32_t bits;        // of a value
  uint32_t group_size;  // columns that share a scale, and a bias where there are biases
  uint32_t step;        // 1: rows are tokens of independent sequences; 0: a chunk
                        // (lib/operations/arguments.ts, LinearRole)
  uint32_t has_scale;
  uint32_t has_bias;
  uint32_t norm_group_cols;  // x is divided by the root mean square of so many columns; 0: no norm
  uint32_t norm_parts;  // 0: the norm is that of x; else by the sums of squares of so many parts
  float norm_eps;
  uint32_t activation;  // an Activation
  uint32_t gated;       // 1: times gate
  uint32_t has_residual;
};
SSM_OPERATION(QuantizedMatmulParams, reads(x), reads(words), reads(scales), reads(biases, optional),
              reads(scale, optional), reads(bias, optional), reads(normWeight, optional),
              reads(squares, optional), reads(gate, optional), reads(residual, optional),
              writes(out));
