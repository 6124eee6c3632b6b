// out[r, c] = activation(x[r, c]) (* gate[r, c])
//
// Grid: four columns a thread (x) of a row (y); threadgroups of up to 256 threads. Which
// activation, and whether there is a gate, are constants: a pipeline holds the code of one.
#include <metal_stdlib>

#include "metal/common.h"
#include "metal/mlp_activation.h"

SSM_CONSTANT(bool, gated);
SSM_CONSTANT(uint, activation);  // enum Activation

template <class T>
[[kernel]] void mlp_activation(device const T* x
                               [[buffer(0)]],  // (rows, cols), rows x_stride apart
                               SSM_OPTIONAL(gated, 1, device const T* gate)  // (rows, cols)
                               device T* out [[buffer(2)]],  // (rows, cols); may be x or gate
                               constant MlpActivationParams& p [[buffer(3)]],
                               uint2 at [[thread_position_in_grid]]) {
  SSM_ABSENT(gated, device const T* gate);
  const uint c = 4 * at.x;
  if (c >= p.cols) return;
  const ulong i = ulong(at.y) * p.cols + c;
  float4 y = load_some(x + ulong(at.y) * p.x_stride + c, p.cols - c);
  if (activation == kGelu) y = gelu(y);
  if (activation == kSilu) y = silu(y);
  if (activation == kRelu2) y = relu2(y);
  if (gated) y *= load_some(gate + i, p.cols - c);
  store_some(out + i, y, p.cols - c);
}

INSTANTIATE(mlp_activation, (float32, float16));
