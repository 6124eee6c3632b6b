// One token between the projections of a gated DeltaNet layer; qkv holds q | k | v, head h reads q
// and k of head h / (heads / key_heads):
//   qkv   = silu(conv1d(qkv)); the token's own enters row position mod width of the ring in slot
//           rows[b] of conv_state
//   q     = scale * q / |q|,  k = k / |k|             with eps in the squares of the lengths
//   decay = exp(A[h] softplus(a[h] + dt_bias[h])),  beta = sigmoid(b[h])
//   u[row]    = beta * (v[row] - decay * sum over n of S[row, n] * k[n])
//   S[row, n] = decay * S[row, n] + u[row] * k[n]
//   o[row]    = sum over n of S[row, n] * q[n]
//   out[row]  = o[row] * silu(z[row])
//   squares[h] = sum over row of o[row]^2
// with S, the state of head h, in slot rows[b] of state. A row of the batch that has no slot does
// nothing. (Yang, Kautz and Hatamizadeh, "Gated delta networks", 2024; Qwen3.5)
//
// Grid: one threadgroup a head (x) of a sequence (y), of up to 1024 threads, as mamba2_update has
// it. First each thread takes channels of the convolution, which go into threadgroup memory; then
// each simdgroup state_rows rows of the state at a time, the first of which are on their way
// meanwhile. A row is read once and written once: both products with it, with k for u and with q
// for o, are of the row as it was, since o = decay * (S q) + u * (k . q). Lengths are taken out of
// q and k by factors of the sums.
// The row of the ring that the token's input takes is read by nobody in this dispatch: the newest
// input comes from qkv. Channels of v are written by their head, those of q and k by the first head
// that reads them. Limits: 4 * (2 * key_dim + value_dim) bytes of threadgroup memory, and one float
// a simdgroup; no slot twice.
#include <metal_stdlib>

#include "metal/conv1d.h"
#include "metal/delta_update.h"
#include "metal/ssd_update.h"

// key_dim is a multiple of 4 and the state starts at a multiple of 16 bytes.
SSM_CONSTANT(bool, vectors);
// Of a simdgroup at a time: up to kStateRows, and a divisor of value_dim.
SSM_CONSTANT(uint, state_rows);

// The channel of number i of what head h convolves: q | k | v.
ALWAYS_INLINE uint channel_of(uint i, uint h, constant DeltaUpdateParams& p) {
  const uint keys = p.key_heads * p.key_dim, first = h / (p.heads / p.key_heads) * p.key_dim;
  uint c = 2 * keys + h * p.value_dim + (i - 2 * p.key_dim);
  if (i < p.key_dim) {
    c = first + i;
  } else if (i < 2 * p.key_dim) {
    c = keys + first + (i - p.key_dim);
  }
  return c;
}

// All threads put the convolved channels of head h into qkv, and the token's input into the ring.
// `inputs`: q | k | v of the token; `ring`: (width, channels) of the slot. A barrier must follow.
template <class T>
ALWAYS_INLINE void convolve_channels(threadgroup float* qkv, device const T* inputs, device T* ring,
                                     device const float* conv_weight, uint newest_row, uint width,
                                     uint channels, uint h, uint thread_index, uint threads,
                                     constant DeltaUpdateParams& p) {
  const bool first_of_key = h % (p.heads / p.key_heads) == 0;
  for (uint i = thread_index; i < 2 * p.key_dim + p.value_dim; i += threads) {
    const uint c = channel_of(i, h, p);
    const T newest = inputs[c];
    qkv[i] = convolve(ring + c, float(newest), conv_weight + ulong(c) * width, 0.0f, newest_row,
                      width, channels);
    if (first_of_key || i >= 2 * p.key_dim) ring[ulong(newest_row) * channels + c] = newest;
  }
}

// What the token does to the state of its head. q and k are as the convolution left them.
struct Update {
  threadgroup const float* q;  // (key_dim)
  threadgroup const float* k;  // (key_dim)
  float decay, beta;
  float q_factor, k_factor;  // that make them as long as they should be
  float qk;                  // k . q, both made so
};

// A whole simdgroup measures q and k.
ALWAYS_INLINE void find_factors(thread Update& update, uint lane, constant DeltaUpdateParams& p) {
  float qq = 0.0f, kk = 0.0f, qk = 0.0f;
  for (uint n = lane; n < p.key_dim; n += 32) {
    const float q = update.q[n], k = update.k[n];
    qq += q * q;
    kk += k * k;
    qk += q * k;
  }
  update.q_factor = p.scale * precise::rsqrt(simd_sum(qq) + p.eps);
  update.k_factor = precise::rsqrt(simd_sum(kk) + p.eps);
  update.qk = simd_sum(qk) * update.q_factor * update.k_factor;
}

// Four columns of each of state_rows rows of the state.
struct StateVectors {
  float4 row[kStateRows];
};

ALWAYS_INLINE void load_vectors(thread StateVectors& s, device const float4* S, uint columns,
                                uint n) {
  UNROLL for (uint r = 0; r < state_rows; ++r) s.row[r] = S[r * columns + n];
}

// A simdgroup adds to `held` and `read` what each lane has of the products of state_rows rows from
// S on, `columns` vectors each, with k and q. `s` holds vector `lane` if it is `loaded`, and after
// it the lane's last one.
ALWAYS_INLINE void read_vectors(device const float4* S, thread StateVectors& s, bool loaded,
                                thread float (&held)[kStateRows], thread float (&read)[kStateRows],
                                Update update, uint columns, uint lane) {
  threadgroup const float4* k = (threadgroup const float4*)update.k;
  threadgroup const float4* q = (threadgroup const float4*)update.q;
  for (uint n = lane; n < columns; n += 32) {
    if (!loaded || n != lane) load_vectors(s, S, columns, n);
    const float4 key = k[n], query = q[n];
    UNROLL for (uint r = 0; r < state_rows; ++r) {
      held[r] += dot(s.row[r], key);
      read[r] += dot(s.row[r], query);
    }
  }
}

// Then writes them, `change` times k added. A lane that had one vector still has it in `s`.
ALWAYS_INLINE void write_vectors(device float4* S, thread StateVectors& s,
                                 thread const float (&change)[kStateRows], Update update,
                                 uint columns, uint lane) {
  threadgroup const float4* k = (threadgroup const float4*)update.k;
  for (uint n = lane; n < columns; n += 32) {
    if (columns > 32) load_vectors(s, S, columns, n);
    const float4 key = k[n];
    UNROLL for (uint r = 0; r < state_rows; ++r) {
      S[r * columns + n] = update.decay * s.row[r] + change[r] * key;
    }
  }
}

// The same number by number, for any key_dim.
ALWAYS_INLINE void read_numbers(device const float* S, thread float (&held)[kStateRows],
                                thread float (&read)[kStateRows], Update update, uint key_dim,
                                uint lane) {
  UNROLL for (uint r = 0; r < state_rows; ++r) {
    device const float* row = S + r * ulong(key_dim);
    for (uint n = lane; n < key_dim; n += 32) {
      held[r] += row[n] * update.k[n];
      read[r] += row[n] * update.q[n];
    }
  }
}
ALWAYS_INLINE void write_numbers(device float* S, thread const float (&change)[kStateRows],
                                 Update update, uint key_dim, uint lane) {
  UNROLL for (uint r = 0; r < state_rows; ++r) {
    device float* row = S + r * ulong(key_dim);
    for (uint n = lane; n < key_dim; n += 32) {
      row[n] = update.decay * row[n] + change[r] * update.k[n];
    }
  }
}

template <class T>
[[kernel]] void delta_update(
    device const T* qkv [[buffer(0)]],              // (batch, channels), rows qkv_stride apart
    device const T* z [[buffer(1)]],                // (batch, heads, value_dim), z_stride apart
    device const T* b [[buffer(2)]],                // (batch, heads), rows b_stride apart
    device const T* a [[buffer(3)]],                // (batch, heads), rows a_stride apart
    device const float* conv_weight [[buffer(4)]],  // (channels, width)
    device T* conv_state [[buffer(5)]],             // (slots, width, channels)
    device const float* A [[buffer(6)]],            // (heads), negative
    device const float* dt_bias [[buffer(7)]],      // (heads)
    device float* state [[buffer(8)]],              // (slots, heads, value_dim, key_dim)
    device const uint* position [[buffer(9)]],      // (batch)
    device const uint* rows [[buffer(10)]],         // (batch): slots
    device T* out [[buffer(11)]],                   // (batch, heads, value_dim)
    device float* squares [[buffer(12)]],           // (batch, heads)
    constant DeltaUpdateParams& p [[buffer(13)]],
    threadgroup float* convolved [[threadgroup(0)]],  // q (key_dim) | k (key_dim) | v (value_dim)
    threadgroup float* scratch [[threadgroup(1)]],    // (simdgroups)
    uint2 group [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  const uint h = group.x, sequence = group.y, slot = rows[sequence];
  if (slot >= p.slots) return;  // the whole threadgroup
  const uint values = p.heads * p.value_dim;
  const uint channels = 2 * p.key_heads * p.key_dim + values;
  device const T* gates = z + ulong(sequence) * p.z_stride + h * p.value_dim;
  const ulong before = ulong(slot) * values + h * p.value_dim;  // rows of the state
  device T* gated = out + ulong(sequence) * values + h * p.value_dim;
  const uint columns = p.key_dim / 4;
  const uint begin = simdgroup * state_rows;

  // What does not depend on the convolution is read and computed before it.
  StateVectors s;
  if (vectors && begin < p.value_dim && lane < columns) {
    load_vectors(s, (device const float4*)(state + (before + begin) * p.key_dim), columns, lane);
  }
  const bool finishes = lane < state_rows;  // lane r finishes row r
  float gate = finishes && begin < p.value_dim ? float(gates[begin + lane]) : 0.0f;
  Update update;
  update.q = convolved;
  update.k = convolved + p.key_dim;
  update.decay =
      precise::exp(A[h] * softplus(float(a[ulong(sequence) * p.a_stride + h]) + dt_bias[h]));
  update.beta = sigmoid(float(b[ulong(sequence) * p.b_stride + h]));

  const uint width = taps != 0 ? taps : p.width;
  convolve_channels(convolved, qkv + ulong(sequence) * p.qkv_stride,
                    conv_state + ulong(slot) * width * channels, conv_weight,
                    position[sequence] % width, width, channels, h, thread_index, 32 * simdgroups,
                    p);
  threadgroup_barrier(mem_flags::mem_threadgroup);

  find_factors(update, lane, p);
  threadgroup const float* v = convolved + 2 * p.key_dim;
  float sum = 0.0f;
  for (uint first = begin; first < p.value_dim; first += state_rows * simdgroups) {
    float held[kStateRows], read[kStateRows], change[kStateRows];
    UNROLL for (uint r = 0; r < state_rows; ++r) held[r] = read[r] = 0.0f;
    device float* S = state + (before + first) * p.key_dim;
    if (vectors) {
      read_vectors((device const float4*)S, s, first == begin, held, read, update, columns, lane);
    } else {
      read_numbers(S, held, read, update, p.key_dim, lane);
    }
    float o = 0.0f;
    UNROLL for (uint r = 0; r < state_rows; ++r) {
      const float with_k = simd_sum(held[r]) * update.k_factor;
      const float with_q = simd_sum(read[r]) * update.q_factor;
      const float u = update.beta * (v[first + r] - update.decay * with_k);
      change[r] = u * update.k_factor;
      if (lane == r) o = update.decay * with_q + u * update.qk;
    }
    if (vectors) {
      write_vectors((device float4*)S, s, change, update, columns, lane);
    } else {
      write_numbers(S, change, update, p.key_dim, lane);
    }
    if (finishes) {
      if (first != begin) gate = float(gates[first + lane]);
      sum += o * o;
      gated[first + lane] = T(o * silu(gate));
    }
  }
  sum = threadgroup_sum(sum, scratch, lane, simdgroup, simdgroups);
  if (thread_index == 0) squares[ulong(sequence) * p.heads + h] = sum;
}

INSTANTIATE(delta_update, (float32, float16));
