// Wrong: constant memory is written through a cast.
#include <metal_stdlib>
using namespace metal;

[[kernel]] void strict_writes_constant(constant float& p [[buffer(0)]],
                                       device float* out [[buffer(1)]],
                                       uint i [[thread_position_in_grid]]) {
  device float* target = (device float*)&p;
  target[0] = out[i];
}
