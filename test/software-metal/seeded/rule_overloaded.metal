// Wrong: two kernels of one name.
#include <metal_stdlib>
using namespace metal;

[[kernel]] void rule_overloaded(device float* out [[buffer(1)]],
                                uint i [[thread_position_in_grid]]) {
  out[i] = 0.0f;
}
[[kernel]] void rule_overloaded(device uint* out [[buffer(1)]],
                                uint i [[thread_position_in_grid]]) {
  out[i] = 0;
}
