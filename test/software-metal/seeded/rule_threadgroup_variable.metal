// Wrong: threadgroup memory that is not an argument.
#include <metal_stdlib>
using namespace metal;

[[kernel]] void rule_threadgroup_variable(device float* out [[buffer(1)]],
                                          uint i [[thread_position_in_grid]]) {
  threadgroup float shared[32];
  out[i] = shared[i];
}
