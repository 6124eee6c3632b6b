// Wrong: the shipped addon inlines only headers of metal/.
#include <metal_stdlib>
#include <metal_vector>
using namespace metal;

[[kernel]] void rule_include(device float* out [[buffer(1)]], uint i [[thread_position_in_grid]]) {
  out[i] = 0.0f;
}
