// One token between the projections of a Mamba-2 layer; zxBCdt holds z | x | B | C | dt, head h
// reads B and C of group h / (heads / groups):
//   xBC  = silu(conv1d(x | B | C) + bias); x | B | C enters row position mod width of
//          the ring in slot rows[b] of conv_state
//   step = clamp(softplus(dt[h] + dt_bias[h]), dt_min, dt_max)
//   S[row, n] = exp(step * A[h]) * S[row, n] + step * x[row] * B[n]
//   y[row]    = sum over n of S[row, n] * C[n] + D[h] * x[row]
//   out[row]  = y[row] * silu(z[row])
//   squares[h] = sum over row of out[row]^2, or of y[row]^2 where the norm comes before the gate
// with S, the state of head h, in slot rows[b] of ssm_state. A row of the batch that has no slot
// does nothing.
//
// Grid: one threadgroup a head (x) of a sequence (y), of up to 1024 threads. First each thread
// takes channels of the convolution, which go into threadgroup memory; then each simdgroup
// state_rows rows of the state at a time, the first of which are on their way meanwhile. The state
// is nearly all of the traffic: it is read once and written once. Each head computes B and C of its
// group for itself, which is d_state * width numbers from cache, against head_dim * d_state of its
// state.
// The row of the ring that the token's input takes is read by nobody in this dispatch: the newest
// input comes from zxBCdt. Rows of x are written by their head, those of B and C by the first head
// of their group. Limits: 4 * (head_dim + 2 * d_state) bytes of threadgroup memory, and one float a
// simdgroup; no slot twice.
#include <metal_stdlib>

#include "metal/conv1d.h"
#include "metal/mamba2_update.h"
#include "metal/ssd_update.h"

SSM_CONSTANT(bool, has_bias);
// d_state is a multiple of 4 and the state starts at a multiple of 16 bytes.
SSM_CONSTANT(bool, vectors);
// Of a simdgroup at a time: up to kStateRows, and a divisor of head_dim.
SSM_CONSTANT(uint, state_rows);

template <class T>
[[kernel]] void mamba2_update(
    device const T* zxBCdt [[buffer(0)]],                     // (batch, inner + channels + heads)
    device const float* conv_weight [[buffer(1)]],            // (channels, width)
    SSM_OPTIONAL(has_bias, 2, device const float* conv_bias)  // (channels)
    device T* conv_state [[buffer(3)]],                       // (slots, width, channels)
    device const float* A [[buffer(4)]],                      // (heads), negative
    device const float* D [[buffer(5)]],                      // (heads)
    device const float* dt_bias [[buffer(6)]],                // (heads)
    device float* ssm_state [[buffer(7)]],                    // (slots, heads, head_dim, d_state)
    device const uint* position [[buffer(8)]],                // (batch)
    device const uint* rows [[buffer(9)]],                    // (batch): slots
    device T* out [[buffer(10)]],                             // (batch, heads, head_dim)
    device float* squares [[buffer(11)]],                     // (batch, heads)
    constant Mamba2UpdateParams& p [[buffer(12)]],
    threadgroup float* xBC [[threadgroup(0)]],      // B (d_state) | C (d_state) | x (head_dim)
    threadgroup float* scratch [[threadgroup(1)]],  // (simdgroups)
    uint2 group [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  SSM_ABSENT(has_bias, device const float* conv_bias);
  const uint h = group.x, b = group.y, slot = rows[b];
  if (slot >= p.slots) return;  // the whole threadgroup
  const uint inner = p.heads * p.head_dim;
  const uint channels = inner + 2 * p.groups * p.d_state;
  const uint sharing = p.heads / p.groups;  // heads of a group
  device const T* z = zxBCdt + ulong(b) * (inner + channels + p.heads);
  device const T* inputs = z + inner;
  const ulong before = ulong(slot) * inner + h * p.head_dim;  // rows of the state
  device T* y_gated = out + ulong(b) * inner + h * p.head_dim;
  const uint columns = p.d_state / 4;
  const uint begin = simdgroup * state_rows;

  // What does not depend on the convolution is read and computed before it.
  float4 s[kStateRows];
  if (vectors && begin < p.head_dim && lane < columns) {
    device const float4* S = (device const float4*)(ssm_state + (before + begin) * p.d_state);
    UNROLL for (uint r = 0; r < state_rows; ++r) s[r] = S[r * columns + lane];
  }
  const bool finishes = lane < state_rows;  // lane r finishes row r
  float gate = finishes && begin < p.head_dim ? float(z[h * p.head_dim + begin + lane]) : 0.0f;
  const float step = step_size(float(inputs[channels + h]), dt_bias[h], p.dt_min, p.dt_max);
  const float decay = precise::exp(step * A[h]), skip = D[h];

  const uint width = taps != 0 ? taps : p.width;
  device T* ring = conv_state + ulong(slot) * width * channels;
  const uint newest_row = position[b] % width;
  const bool first_of_group = h % sharing == 0;
  for (uint i = thread_index; i < 2 * p.d_state + p.head_dim; i += 32 * simdgroups) {
    uint c = h * p.head_dim + (i - 2 * p.d_state);  // the channel
    if (i < p.d_state) {
      c = inner + h / sharing * p.d_state + i;
    } else if (i < 2 * p.d_state) {
      c = inner + (p.groups + h / sharing) * p.d_state + (i - p.d_state);
    }
    const T newest = inputs[c];
    xBC[i] = convolve(ring + c, float(newest), conv_weight + ulong(c) * width,
                      has_bias ? conv_bias[c] : 0.0f, newest_row, width, channels);
    if (first_of_group || i >= 2 * p.d_state) ring[ulong(newest_row) * channels + c] = newest;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);

  threadgroup const float* B = xBC;
  threadgroup const float* C = xBC + p.d_state;
  threadgroup const float* x = xBC + 2 * p.d_state;
  float sum = 0.0f;
  for (uint first = begin; first < p.head_dim; first += state_rows * simdgroups) {
    float value[kStateRows], read[kStateRows];  // as in ssd_update
    UNROLL for (uint r = 0; r < state_rows; ++r) {
      value[r] = x[first + r];
      read[r] = 0.0f;
    }
    if (vectors) {
      device float4* S = (device float4*)(ssm_state + (before + first) * p.d_state);
      threadgroup const float4* B4 = (threadgroup const float4*)B;
      threadgroup const float4* C4 = (threadgroup const float4*)C;
      for (uint n = lane; n < columns; n += 32) {
        if (first != begin || n != lane) {
          UNROLL for (uint r = 0; r < state_rows; ++r) s[r] = S[r * columns + n];
        }
        const float4 input = B4[n], output = C4[n];
        UNROLL for (uint r = 0; r < state_rows; ++r) {
          s[r] = decay * s[r] + step * value[r] * input;
          S[r * columns + n] = s[r];
          read[r] += dot(s[r], output);
        }
      }
    } else {
      UNROLL for (uint r = 0; r < state_rows; ++r) {
        device float* row = ssm_state + (before + first + r) * p.d_state;
        for (uint n = lane; n < p.d_state; n += 32) {
          const float one = decay * row[n] + step * value[r] * B[n];
          row[n] = one;
          read[r] += one * C[n];
        }
      }
    }
    float y = 0.0f;
    UNROLL for (uint r = 0; r < state_rows; ++r) {
      const float total = simd_sum(read[r]) + skip * value[r];
      if (lane == r) y = total;
    }
    if (finishes) {
      if (first != begin) gate = float(z[h * p.head_dim + first + lane]);
      const float gated = y * silu(gate);
      sum += p.norm_before_gate ? y * y : gated * gated;
      y_gated[first + lane] = T(gated);
    }
  }
  sum = threadgroup_sum(sum, scratch, lane, simdgroup, simdgroups);
  if (thread_index == 0) squares[ulong(b) * p.heads + h] = sum;
}

INSTANTIATE(mamba2_update, (float32, float16));
