// One token of the Mamba-2 recurrence, the state S of head h in slot rows[b] updated in place; head
// h reads B and C of group g = h / (heads / groups):
//   step = clamp(softplus(dt[b, h] + dt_bias[h]), dt_min, dt_max)
//   S[row, n] = exp(step * A[h]) * S[row, n] + input * B[g, n], input = step * x[row], discrete:
//   x[row]
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

// What the token does to the state of its head.
template <class T>
struct Update {
  float factor;  // of x: the step size, discrete: 1
  float decay;
  device const T* B;  // (d_state)
  device const T* C;  // (d_state)
};

// What a lane holds of state_rows rows: four columns of each, and those of B and C.
struct Vectors {
  float4 state[kStateRows];
  float4 input, output;
};

template <class T>
ALWAYS_INLINE void load_vectors(thread Vectors& v, device const float4* S, uint columns, uint n,
                                Update<T> update) {
  UNROLL for (uint r = 0; r < state_rows; ++r) v.state[r] = S[r * columns + n];
  v.input = load4(update.B + 4 * n);
  v.output = load4(update.C + 4 * n);
}

// A simdgroup updates state_rows rows from S on, `columns` vectors each, and adds to `sum` what
// each lane has of their products with C. `v` holds vector `lane`.
template <class T>
ALWAYS_INLINE void update_vectors(device float4* S, thread Vectors& v,
                                  thread const float (&value)[kStateRows],
                                  thread float (&sum)[kStateRows], Update<T> update, uint columns,
                                  uint lane) {
  for (uint n = lane; n < columns; n += 32) {
    if (n != lane) load_vectors(v, S, columns, n, update);
    UNROLL for (uint r = 0; r < state_rows; ++r) {
      v.state[r] = update.decay * v.state[r] + update.factor * value[r] * v.input;
      S[r * columns + n] = v.state[r];
      sum[r] += dot(v.state[r], v.output);
    }
  }
}

// The same number by number, for any d_state.
template <class T>
ALWAYS_INLINE void update_numbers(device float* S, thread const float (&value)[kStateRows],
                                  thread float (&sum)[kStateRows], Update<T> update, uint d_state,
                                  uint lane) {
  UNROLL for (uint r = 0; r < state_rows; ++r) {
    device float* row = S + r * ulong(d_state);
    for (uint n = lane; n < d_state; n += 32) {
      const float one = update.decay * row[n] + update.factor * value[r] * float(update.B[n]);
      row[n] = one;
      sum[r] += one * float(update.C[n]);
    }
  }
}

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
  Update<T> update;
  update.B = B + ulong(b) * p.b_stride + column;
  update.C = C + ulong(b) * p.c_stride + column;
  device float* S = state + (before + first) * p.d_state;

  // Reads come before what they do not depend on is computed, and those of all rows before the
  // first is written: one wait for all.
  Vectors v;
  if (vectors && lane < columns) load_vectors(v, (device const float4*)S, columns, lane, update);
  float value[kStateRows], sum[kStateRows];
  UNROLL for (uint r = 0; r < state_rows; ++r) {
    value[r] = float(xs[first + r]);
    sum[r] = 0.0f;
  }
  const float step =
      step_size(float(dt[ulong(b) * p.dt_stride + h]), dt_bias[h], p.dt_min, p.dt_max);
  update.factor = p.discrete ? 1.0f : step;
  update.decay = precise::exp(step * A[h]);
  if (vectors) {
    update_vectors((device float4*)S, v, value, sum, update, columns, lane);
  } else {
    update_numbers(S, value, sum, update, p.d_state, lane);
  }
  UNROLL for (uint r = 0; r < state_rows; ++r) {
    const float total = simd_sum(sum[r]) + D[h] * value[r];
    if (lane == 0) y[first + r] = T(total);
  }
}

INSTANTIATE(ssd_update, (float32, float16));
