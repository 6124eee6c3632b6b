// Norm and rotary position embedding of heads of queries or keys, each of them only when given:
//   y   = x / rms(x) * norm_weight over each head
//   out = y with each pair (a, b) of its first rotary_dim columns turned by the float32 product of
//         position and frequencies[i]: (a cos - b sin, b cos + a sin) * attention_factor
// The position of token t of row b is position[b] + t. `out` may be x.
//
// Grid: one simdgroup a head, threadgroups of any number of whole simdgroups, (ceil(heads /
// simdgroups), batch * length). A lane reads again what it writes, and no other lane does, after
// the sum of squares has come together from all of them: so a head may take its own place.
#include <metal_stdlib>

#include "metal/common.h"
#include "metal/rotary.h"
#include "metal/turn.h"

SSM_CONSTANT(bool, normed);
SSM_CONSTANT(bool, turned);

template <class T>
[[kernel]] void rotary(device const T* x [[buffer(0)]],  // (batch, length, heads, head_dim)
                       SSM_OPTIONAL(normed, 1, device const float* norm_weight)  // (head_dim)
                       SSM_OPTIONAL(turned, 2, device const float* frequencies)  // (rotary_dim / 2)
                       SSM_OPTIONAL(turned, 3, device const uint* position)      // (batch)
                       device T* out [[buffer(4)]],  // (batch, length, heads, head_dim)
                       constant RotaryParams& p [[buffer(5)]],
                       uint2 group [[threadgroup_position_in_grid]],
                       uint lane [[thread_index_in_simdgroup]],
                       uint simdgroup [[simdgroup_index_in_threadgroup]],
                       uint simdgroups [[simdgroups_per_threadgroup]]) {
  SSM_ABSENT(normed, device const float* norm_weight);
  SSM_ABSENT(turned, device const float* frequencies);
  SSM_ABSENT(turned, device const uint* position);
  const uint h = group.x * simdgroups + simdgroup, token = group.y;
  if (h >= p.heads) return;  // the whole simdgroup
  device const T* from = x + ulong(token) * p.x_stride + h * p.x_head_stride;
  device T* to = out + ulong(token) * p.out_stride + h * p.out_head_stride;

  float scale = 1.0f;
  if (normed) {
    float squares = 0.0f;
    for (uint c = lane; c < p.head_dim; c += 32) squares += float(from[c]) * float(from[c]);
    scale = precise::rsqrt(simd_sum(squares) / float(p.head_dim) + p.eps);
    // Where out is x, nobody writes a column before all have read it.
    simdgroup_barrier(mem_flags::mem_device);
  }
  if (turned) {
    const float at = float(position[token / p.length] + token % p.length);
    for (uint i = lane; i < p.rotary_dim / 2; i += 32) {
      const Pair pair = pair_of(i, p.rotary_dim, p.interleaved);
      float a = float(from[pair.first]), b = float(from[pair.second]);
      if (normed) {
        a *= scale * norm_weight[pair.first];
        b *= scale * norm_weight[pair.second];
      }
      const Turn turn = turn_of(at * frequencies[i], p.attention_factor);
      to[pair.first] = T(a * turn.cosine - b * turn.sine);
      to[pair.second] = T(b * turn.cosine + a * turn.sine);
    }
  }
  for (uint c = p.rotary_dim + lane; c < p.head_dim; c += 32) {
    const float v = float(from[c]);
    to[c] = T(normed ? v * scale * norm_weight[c] : v);
  }
}

// The type of x and out.
INSTANTIATE(rotary, (float32, float16));
