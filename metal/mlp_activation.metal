// out[i] = activation(x[i]) (* gate[i])
//
// Grid: four elements a thread; threadgroups of up to 256 threads. Which activation, and whether
// there is a gate, are constants: a pipeline holds the code of one.
#include <metal_stdlib>

#include "metal/common.h"
#include "metal/mlp_activation.h"

SSM_CONSTANT(bool, gated);
SSM_CONSTANT(uint, activation);  // enum Activation

template <class T>
[[kernel]] void mlp_activation(device const T* x [[buffer(0)]],              // (count)
                               SSM_OPTIONAL(gated, 1, device const T* gate)  // (count)
                               device T* out [[buffer(2)]],                  // (count); may be x
                               constant MlpActivationParams& p [[buffer(3)]],
                               uint at [[thread_position_in_grid]]) {
  SSM_ABSENT(gated, device const T* gate);
  const ulong i = 4 * ulong(at);
  if (i >= p.count) return;
  float4 y = load_some(x + i, p.count - i);
  if (activation == kGelu) y = gelu(y);
  if (activation == kSilu) y = silu(y);
  if (activation == kRelu2) y = relu2(y);
  if (gated) y *= load_some(gate + i, p.count - i);
  store_some(out + i, y, p.count - i);
}

INSTANTIATE(mlp_activation, (float32, float16));
