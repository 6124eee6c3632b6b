// Wrong: a device pointer is read through a threadgroup pointer.
#include <metal_stdlib>
using namespace metal;

[[kernel]] void strict_mixed_spaces(device const float* in [[buffer(0)]],
                                    device float* out [[buffer(1)]],
                                    uint i [[thread_position_in_grid]]) {
  threadgroup const float* shared = (threadgroup const float*)in;
  out[i] = shared[i];
}
