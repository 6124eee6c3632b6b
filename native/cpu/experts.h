// What experts_matmul and quantized_experts_matmul do around the product itself. Both parameter
// structs have the same fields for that.
#pragma once

#include <algorithm>
#include <vector>

#include "metal/types.h"
#include "native/cpu/activations.h"
#include "native/cpu/thread_pool.h"
#include "native/operation.h"

namespace ssm::cpu {

// The products of each expert: numbers of rows of out.
template <class Params>
std::vector<std::vector<size_t>> products_by_expert(const uint32_t* chosen, const Params& p) {
  std::vector<std::vector<size_t>> result(p.experts);
  for (size_t i = 0; i < p.rows; ++i) result[std::min(chosen[i], p.experts - 1)].push_back(i);
  return result;
}

// out[i, n] = activation(sum) * gate[i, n]
class ExpertsOutput {
 public:
  // Buffer `gate` is that, the one after it out, both (rows, outputs).
  template <class Params>
  ExpertsOutput(const Operation& operation, const Params& p, size_t gate)
      : gate_(operation.data<const float>(gate)),
        out_(operation.data<float>(gate + 1)),
        outputs_(p.outputs),
        activation_(p.activation) {}

  void store(size_t i, size_t n, float sum) const {
    const size_t at = i * outputs_ + n;
    if (activation_ == kGelu) sum = gelu(sum);
    if (activation_ == kSilu) sum = silu(sum);
    if (activation_ == kRelu2) sum = relu2(sum);
    out_[at] = gate_ == nullptr ? sum : sum * gate_[at];
  }

 private:
  const float* gate_;
  float* out_;
  size_t outputs_;
  uint32_t activation_;
};

// Every row of the weight that is needed, once, for all products with it: multiply(row of the
// weight, output, numbers of products). Rows are shared among threads.
template <class Params, class Multiply>
void multiply_by_expert(const uint32_t* chosen, const Params& p, ThreadPool& threads,
                        const Multiply& multiply) {
  const auto products = products_by_expert(chosen, p);
  const size_t cost = (size_t{p.rows} / p.experts + 2) * p.inputs;
  threads.parallel_for(size_t{p.experts} * p.outputs, cost, [&](size_t begin, size_t end) {
    std::vector<float> row(p.inputs);
    for (size_t i = begin; i < end; ++i) {
      const size_t expert = i / p.outputs, n = i % p.outputs;
      if (products[expert].empty()) continue;
      multiply(expert * p.expert_rows + n, n, products[expert], row.data());
    }
  });
}

}  // namespace ssm::cpu
