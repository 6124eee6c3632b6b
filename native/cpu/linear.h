// What matmul and quantized_matmul do around the product itself: the norm before it, and bias,
// activation, gate and residual after it. Both parameter structs have the same fields for that.
#pragma once

#include <cmath>
#include <vector>

#include "metal/types.h"
#include "native/cpu/activations.h"
#include "native/cpu/dot.h"
#include "native/operation.h"

namespace ssm::cpu {

// The rows that are multiplied: x as it is, or normed.
class LinearInput {
 public:
  // Buffer 0 is x (rows, inputs), rows x_stride apart; buffer `norm_weight` the norm's (inputs),
  // the one after it sums of squares (rows, norm_parts).
  template <class Params>
  LinearInput(const Operation& operation, const Params& p, size_t norm_weight)
      : rows_(operation.data<const float>(0)), stride_(p.x_stride) {
    if (p.norm_group_cols == 0) return;
    const auto* w = operation.data<const float>(norm_weight);
    const auto* squares = operation.data<const float>(norm_weight + 1);
    const size_t groups = p.inputs / p.norm_group_cols;
    const size_t parts = p.norm_parts / groups;  // of a group
    normed_.resize(size_t{p.rows} * p.inputs);
    for (size_t r = 0; r < p.rows; ++r) {
      for (size_t g = 0; g < groups; ++g) {
        const size_t first = g * p.norm_group_cols;
        const float* x = row(r) + first;
        float sum = 0.0f;
        if (squares == nullptr) sum = dot(x, x, p.norm_group_cols);
        for (size_t i = 0; i < parts; ++i) sum += squares[r * p.norm_parts + g * parts + i];
        const float mean_square = sum / static_cast<float>(p.norm_group_cols);
        const float scale = 1.0f / std::sqrt(mean_square + p.norm_eps);
        float* normed = normed_.data() + r * p.inputs + first;
        for (size_t c = 0; c < p.norm_group_cols; ++c) normed[c] = x[c] * scale * w[first + c];
      }
    }
    rows_ = normed_.data();
    stride_ = p.inputs;
  }
  LinearInput(const LinearInput&) = delete;
  LinearInput& operator=(const LinearInput&) = delete;

  const float* row(size_t r) const { return rows_ + r * stride_; }

 private:
  const float* rows_;
  size_t stride_;
  std::vector<float> normed_;
};

// out[r, n] = activation(scale[n] * sum + bias[n]) * gate[r, n] + residual[r, n]
class LinearOutput {
 public:
  // Buffers from number `scale` on: scale (outputs), bias (outputs), two of the norm, gate,
  // residual and out, all three (rows, outputs).
  template <class Params>
  LinearOutput(const Operation& operation, const Params& p, size_t scale)
      : scale_(operation.data<const float>(scale)),
        bias_(operation.data<const float>(scale + 1)),
        gate_(operation.data<const float>(scale + 4)),
        residual_(operation.data<const float>(scale + 5)),
        out_(operation.data<float>(scale + 6)),
        outputs_(p.outputs),
        activation_(p.activation) {}

  void store(size_t r, size_t n, float sum) const {
    const size_t i = r * outputs_ + n;
    if (scale_) sum *= scale_[n];
    if (bias_) sum += bias_[n];
    if (activation_ == kGelu) sum = gelu(sum);
    if (activation_ == kSilu) sum = silu(sum);
    if (activation_ == kRelu2) sum = relu2(sum);
    if (gate_) sum *= gate_[i];
    if (residual_) sum += residual_[i];
    out_[i] = sum;
  }

 private:
  const float* scale_;
  const float* bias_;
  const float* gate_;
  const float* residual_;
  float* out_;
  size_t outputs_;
  uint32_t activation_;
};

}  // namespace ssm::cpu
