// What the kernels of experts_matmul and quantized_experts_matmul share. Those by the names of the
// operations are for steps, and for chunks that are too short for tiles (expert_tile.h). Their
// grid: y a product (an expert of a token), x kExpertOutputs outputs a simdgroup; any number of
// whole simdgroups a threadgroup. Lanes take neighbouring columns of the expert's rows, so each of
// them is read once a product.
#pragma once
#include "metal/common.h"

SSM_CONSTANT(uint, activation);  // enum Activation
SSM_CONSTANT(bool, gated);

constant constexpr uint kExpertOutputs = 4;

// The row of the weight of output `n` of an expert; beyond the last output the last one again. A
// number that is no expert's reads the last one's, so that no memory outside is read.
template <class Params>
inline ulong expert_row(uint expert, uint n, constant Params& p) {
  return ulong(min(expert, p.experts - 1)) * p.expert_rows + min(n, p.outputs - 1);
}

// out = activation(sum) * gate, for element `at` of out.
template <class Out>
inline void store_output(float sum, ulong at, device const Out* gate, device Out* out) {
  if (activation == kGelu) sum = gelu(sum);
  if (activation == kSilu) sum = silu(sum);
  if (activation == kRelu2) sum = relu2(sum);
  if (gated) sum *= float(gate[at]);
  out[at] = Out(sum);
}

// Lane j finishes output first + j of a product: the whole simdgroup calls it, with what each lane
// has of the sums.
template <class Out, class Params>
inline void store_outputs(thread const float (&sums)[kExpertOutputs], uint first, ulong product,
                          uint lane, device const Out* gate, device Out* out, constant Params& p) {
  float mine = 0.0f;
  UNROLL for (uint j = 0; j < kExpertOutputs; ++j) {
    const float total = simd_sum(sums[j]);
    if (lane == j) mine = total;
  }
  const uint n = first + lane;
  if (lane >= kExpertOutputs || n >= p.outputs) return;
  store_output(mine, product * p.outputs + n, gate, out);
}
