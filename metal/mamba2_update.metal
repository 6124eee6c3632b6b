// One token between the projections of a Mamba-2 layer; zxBCdt holds z | x | B | C | dt, with
// gate_after x | B | C | z | dt; head h reads B and C of group h / (heads / groups):
//   xBC  = silu(conv1d(x | B | C) + bias), without activation as it is; x | B | C enters row
//          position mod width of the ring in slot rows[b] of conv_state
//   step = clamp(softplus(dt[h] + dt_bias[h]), dt_min, dt_max)
//   S[row, n] = exp(step * A[h]) * S[row, n] + input * B[n], input = step * x[row], discrete:
//   x[row] y[row]    = sum over n of S[row, n] * C[n] + D[h] * x[row] out[row]  = y[row] *
//   silu(z[row]) squares[h] = sum over row of out[row]^2, or of y[row]^2 where the norm comes
//   before the gate
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

// The channel of number i of xBC for head h.
ALWAYS_INLINE uint channel_of(uint i, uint h, constant Mamba2UpdateParams& p) {
  const uint inner = p.heads * p.head_dim, group = h / (p.heads / p.groups);
  uint c = h * p.head_dim + (i - 2 * p.d_state);
  if (i < p.d_state) {
    c = inner + group * p.d_state + i;
  } else if (i < 2 * p.d_state) {
    c = inner + (p.groups + group) * p.d_state + (i - p.d_state);
  }
  return c;
}

// All threads put the convolved channels of head h into xBC, and the token's input into the ring.
// `inputs`: x | B | C of the token; `ring`: (width, channels) of the slot. A barrier must follow.
template <class T>
ALWAYS_INLINE void convolve_channels(threadgroup float* xBC, device const T* inputs, device T* ring,
                                     device const float* conv_weight, device const float* conv_bias,
                                     uint newest_row, uint width, uint channels, uint h,
                                     uint thread_index, uint threads,
                                     constant Mamba2UpdateParams& p) {
  const bool first_of_group = h % (p.heads / p.groups) == 0;
  for (uint i = thread_index; i < 2 * p.d_state + p.head_dim; i += threads) {
    const uint c = channel_of(i, h, p);
    const T newest = inputs[c];
    xBC[i] = convolve(ring + c, float(newest), conv_weight + ulong(c) * width,
                      has_bias ? conv_bias[c] : 0.0f, newest_row, width, channels);
    if (first_of_group || i >= 2 * p.d_state) ring[ulong(newest_row) * channels + c] = newest;
  }
}

// What the token does to the state of its head; B and C are in threadgroup memory.
struct Update {
  float factor;  // of x: the step size, discrete: 1
  float decay;
  threadgroup const float* B;  // (d_state)
  threadgroup const float* C;  // (d_state)
};

// Four columns of each of state_rows rows of the state.
struct StateVectors {
  float4 row[kStateRows];
};

ALWAYS_INLINE void load_vectors(thread StateVectors& s, device const float4* S, uint columns,
                                uint n) {
  UNROLL for (uint r = 0; r < state_rows; ++r) s.row[r] = S[r * columns + n];
}

// A simdgroup updates state_rows rows from S on, `columns` vectors each, and adds to `read` what
// each lane has of their products with C. `s` holds vector `lane` if it is `loaded`.
ALWAYS_INLINE void update_vectors(device float4* S, thread StateVectors& s, bool loaded,
                                  thread const float (&value)[kStateRows],
                                  thread float (&read)[kStateRows], Update update, uint columns,
                                  uint lane) {
  threadgroup const float4* B = (threadgroup const float4*)update.B;
  threadgroup const float4* C = (threadgroup const float4*)update.C;
  for (uint n = lane; n < columns; n += 32) {
    if (!loaded || n != lane) load_vectors(s, S, columns, n);
    const float4 input = B[n], output = C[n];
    UNROLL for (uint r = 0; r < state_rows; ++r) {
      s.row[r] = update.decay * s.row[r] + update.factor * value[r] * input;
      S[r * columns + n] = s.row[r];
      read[r] += dot(s.row[r], output);
    }
  }
}

// The same number by number, for any d_state.
ALWAYS_INLINE void update_numbers(device float* S, thread const float (&value)[kStateRows],
                                  thread float (&read)[kStateRows], Update update, uint d_state,
                                  uint lane) {
  UNROLL for (uint r = 0; r < state_rows; ++r) {
    device float* row = S + r * ulong(d_state);
    for (uint n = lane; n < d_state; n += 32) {
      const float one = update.decay * row[n] + update.factor * value[r] * update.B[n];
      row[n] = one;
      read[r] += one * update.C[n];
    }
  }
}

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
  device const T* row = zxBCdt + ulong(b) * (inner + channels + p.heads);
  device const T* z = row + (p.gate_after ? channels : 0);
  device const T* inputs = row + (p.gate_after ? 0 : inner);
  const ulong before = ulong(slot) * inner + h * p.head_dim;  // rows of the state
  device T* y_gated = out + ulong(b) * inner + h * p.head_dim;
  const uint columns = p.d_state / 4;
  const uint begin = simdgroup * state_rows;

  // What does not depend on the convolution is read and computed before it.
  StateVectors s;
  if (vectors && begin < p.head_dim && lane < columns) {
    load_vectors(s, (device const float4*)(ssm_state + (before + begin) * p.d_state), columns,
                 lane);
  }
  const bool finishes = lane < state_rows;  // lane r finishes row r
  float gate = finishes && begin < p.head_dim ? float(z[h * p.head_dim + begin + lane]) : 0.0f;
  const float step = step_size(float(row[inner + channels + h]), dt_bias[h], p.dt_min, p.dt_max);
  const float decay = precise::exp(step * A[h]), skip = D[h];

  const uint width = taps != 0 ? taps : p.width;
  device T* ring = conv_state + ulong(slot) * width * channels;
  const uint newest_row = position[b] % width;
  convolve_channels(xBC, inputs, ring, conv_weight, conv_bias, newest_row, width, channels, h,
                    thread_index, 32 * simdgroups, p);
  threadgroup_barrier(mem_flags::mem_threadgroup);

  const Update update = {p.discrete ? 1.0f : step, decay, xBC, xBC + p.d_state};
  threadgroup const float* x = xBC + 2 * p.d_state;
  float sum = 0.0f;
  for (uint first = begin; first < p.head_dim; first += state_rows * simdgroups) {
    float value[kStateRows], read[kStateRows];  // as in ssd_update
    UNROLL for (uint r = 0; r < state_rows; ++r) {
      value[r] = x[first + r];
      read[r] = 0.0f;
    }
    device float* S = ssm_state + (before + first) * p.d_state;
    if (vectors) {
      update_vectors((device float4*)S, s, first == begin, value, read, update, columns, lane);
    } else {
      update_numbers(S, value, read, update, p.d_state, lane);
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
