// Wrong: a pointer that says no address space.
#include <metal_stdlib>
using namespace metal;

inline float first(const float* x) { return x[0]; }

[[kernel]] void strict_no_space(device const float* in [[buffer(0)]],
                                device float* out [[buffer(1)]],
                                uint i [[thread_position_in_grid]]) {
  out[i] = first(in);
}
