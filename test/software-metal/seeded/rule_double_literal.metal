// Wrong: 0.5 would be a double.
#include <metal_stdlib>
using namespace metal;

[[kernel]] void rule_double_literal(device float* out [[buffer(1)]],
                                    uint i [[thread_position_in_grid]]) {
  out[i] = 0.5 * out[i];
}
