// Wrong: a function that Metal does not have.
#include <metal_stdlib>
using namespace metal;

[[kernel]] void strict_unknown_function(device const float* in [[buffer(0)]],
                                        device float* out [[buffer(1)]],
                                        uint i [[thread_position_in_grid]]) {
  out[i] = expm1(in[i]);
}
