// What matmul and quantized_matmul do around the product itself, with float32 in between:
//   out[r, n] = activation(scale[n] * product of normed x and w [r, n] + bias[n]) * gate[r, n]
//               + residual[r, n]
// Each part is there only when its constant says so.
#pragma once
#include "metal/common.h"

SSM_CONSTANT(bool, has_scale);
SSM_CONSTANT(bool, has_bias);
SSM_CONSTANT(uint, activation);  // enum Activation
SSM_CONSTANT(bool, gated);
SSM_CONSTANT(bool, has_residual);

// Element i of the residual, 0 without one. It may be out: one thread reads and writes an element.
template <class Out>
inline float residual_of(device const Out* residual, ulong i) {
  return has_residual ? float(residual[i]) : 0.0f;
}

// Stores the product of output n as element i of out. `residual`: residual_of(i), which may have
// been read long before.
template <class Out>
inline void store_linear(float sum, uint n, ulong i, device const float* scale,
                         device const float* bias, device const Out* gate, float residual,
                         device Out* out) {
  if (has_scale) sum *= scale[n];
  if (has_bias) sum += bias[n];
  if (activation == kGelu) sum = gelu(sum);
  if (activation == kSilu) sum = silu(sum);
  if (activation == kRelu2) sum = relu2(sum);
  if (gated) sum *= float(gate[i]);
  if (has_residual) sum += residual;
  out[i] = Out(sum);
}
