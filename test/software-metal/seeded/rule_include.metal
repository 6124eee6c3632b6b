// Wrong: the shipped addon inlines only headers of metal/.
#include <metal_math>
#include <metal_stdlib>
using namespace metal;

[[kernel]] void rule_include(device float* out [[buffer(1)]], uint i [[thread_position_in_grid]]) {
  out[i] = 0.0f;
}
