// The inputs of one channel of a chunk, which conv1d_prefill and conv1d_prefill_state share.
#pragma once
#include "metal/common.h"
#include "metal/conv1d_prefill.h"

SSM_CONSTANT(bool, gated);

// Of one sequence. A gated input is rounded as the ring holds it, so that what a chunk computes
// with is what a later one finds.
template <class T>
struct Inputs {
  device const T* x;     // rows x_stride apart
  device const T* gate;  // rows gate_stride apart, if gated
  ulong x_stride, gate_stride;
};

// Of token t of the chunk.
template <class T>
inline T input_of(Inputs<T> inputs, ulong t) {
  const T value = inputs.x[t * inputs.x_stride];
  return gated ? T(float(value) * float(inputs.gate[t * inputs.gate_stride])) : value;
}

// Channel c of sequence b.
template <class T>
inline Inputs<T> inputs_of(device const T* x, device const T* gate, uint b, uint c,
                           constant Conv1dPrefillParams& p) {
  Inputs<T> inputs;
  inputs.x = x + ulong(b) * p.length * p.x_stride + c;
  inputs.gate = gate;
  if (gated) inputs.gate += ulong(b) * p.length * p.input_gate_stride + c;
  inputs.x_stride = p.x_stride;
  inputs.gate_stride = p.input_gate_stride;
  return inputs;
}
