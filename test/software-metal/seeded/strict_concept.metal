// Wrong: a concept is C++20; Metal is C++17.
#include <metal_stdlib>
using namespace metal;

template <class T>
concept Any = true;

[[kernel]] void strict_concept(device float* out [[buffer(1)]],
                               uint i [[thread_position_in_grid]]) {
  out[i] = 0.0f;
}
