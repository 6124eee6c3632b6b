// One token of the Mamba-2 recurrence, the state S of head h in slot rows[b] updated in place; head
// h reads B and C of group g = h / (heads / groups):
//   step = clamp(softplus(dt[b, h] + dt_bias[h]), dt_min, dt_max)
//   S[row, n] = exp(step * A[h]) * S[row, n] + step * x[row] * B[g, n]
//   out[row]  = sum over n of S[row, n] * C[g, n] + D[h] * x[row]
// A row of the batch that has no slot does nothing.
// Grid: one simdgroup every state_rows rows of head_dim, threadgroups (ceil(head_dim / (simdgroups
// * state_rows)), heads, batch), any number of whole simdgroups. The state is nearly all of the
// traffic: every row is read once and written once, its lanes side by side, four numbers a lane
// (`vectors`; with d_state 128 a row is one access of the simdgroup). The step size is the same for
// the whole simdgroup and costs it two exp and one log. Several rows a simdgroup share it and B and
// C, and have more reads under way at once; but there are fewer simdgroups then. Limits: no slot
// twice.
#include <metal_stdlib>

#include "metal/common.h"
#include "metal/ssd_update.h"

// d_state is a multiple of 4 and the state starts at a multiple of 16 bytes.
SSM_CONSTANT(bool, vectors);
// Of a simdgroup: up to kStateRows, and a divisor of head_dim.
SSM_CONSTANT(uint, state_rows);

template <class T>
[[kernel]] void ssd_update(device const T* x [[buffer(0)]],            // (batch, heads, head_dim)
                           device const T* dt [[buffer(1)]],           // (batch, heads)
                           device const float* A [[buffer(2)]],        // (heads), negative
                           device const T* B [[buffer(3)]],            // (batch, groups, d_state)
                           device const T* C [[buffer(4)]],            // (batch, groups, d_state)
                           device const float* D [[buffer(5)]],        // (heads)
                           device const float* dt_bias [[buffer(6)]],  // (heads)
                           device float* state [[buffer(7)]],  // (slots, heads, head_dim, d_state)
                           device const uint* rows [[buffer(8)]],  // (batch): slots
                           device T* out [[buffer(9)]],            // (batch, heads, head_dim)
                           constant SsdUpdateParams& p [[buffer(10)]],
                           uint3 group [[threadgroup_position_in_grid]],
                           uint simdgroup [[simdgroup_index_in_threadgroup]],
                           uint simdgroups [[simdgroups_per_threadgroup]],
                           uint lane [[thread_index_in_simdgroup]]) {
  const uint first = (group.x * simdgroups + simdgroup) * state_rows, h = group.y, b = group.z;
  const uint slot = rows[b];
  if (first >= p.head_dim || slot >= p.slots) return;             // the whole simdgroup
  const ulong before = (ulong(slot) * p.heads + h) * p.head_dim;  // rows of the state
  device T* y = out + (ulong(b) * p.heads + h) * p.head_dim;
  const uint column = h / (p.heads / p.groups) * p.d_state;
  const uint columns = p.d_state / 4;
  device const T* xs = x + ulong(b) * p.x_stride + h * p.head_dim;
  device const T* Bs = B + ulong(b) * p.b_stride + column;
  device const T* Cs = C + ulong(b) * p.c_stride + column;
  device float4* S = (device float4*)(state + (before + first) * p.d_state);

  // Reads come before what they do not depend on is computed, and those of all rows before the
  // first is written: one wait for all.
  float4 s[kStateRows], input = float4(0.0f), output = float4(0.0f);
  if (vectors && lane < columns) {
    UNROLL for (uint r = 0; r < state_rows; ++r) s[r] = S[r * columns + lane];
    input = load4(Bs + 4 * lane);
    output = load4(Cs + 4 * lane);
  }
  float value[kStateRows], sum[kStateRows];
  UNROLL for (uint r = 0; r < state_rows; ++r) {
    value[r] = float(xs[first + r]);
    sum[r] = 0.0f;
  }
  const float step =
      step_size(float(dt[ulong(b) * p.dt_stride + h]), dt_bias[h], p.dt_min, p.dt_max);
  const float decay = precise::exp(step * A[h]);
  if (vectors) {
    for (uint n = lane; n < columns; n += 32) {
      if (n != lane) {
        UNROLL for (uint r = 0; r < state_rows; ++r) s[r] = S[r * columns + n];
        input = load4(Bs + 4 * n);
        output = load4(Cs + 4 * n);
      }
      UNROLL for (uint r = 0; r < state_rows; ++r) {
        s[r] = decay * s[r] + step * value[r] * input;
        S[r * columns + n] = s[r];
        sum[r] += dot(s[r], output);
      }
    }
  } else {
    UNROLL for (uint r = 0; r < state_rows; ++r) {
      device float* row = state + (before + first + r) * p.d_state;
      for (uint n = lane; n < p.d_state; n += 32) {
        const float one = decay * row[n] + step * value[r] * float(Bs[n]);
        row[n] = one;
        sum[r] += one * float(Cs[n]);
      }
    }
  }
  UNROLL for (uint r = 0; r < state_rows; ++r) {
    const float total = simd_sum(sum[r]) + D[h] * value[r];
    if (lane == 0) y[first + r] = T(total);
  }
}

INSTANTIATE(ssd_update, (float32, float16));
