// What the fast versions of matmul and quantized_matmul do around the product, of a step and of a
// chunk: as native/cpu/linear.h, by kernels.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>

#include "native/cpu/fast/kernels.h"
#include "native/cpu/thread_pool.h"
#include "native/operation.h"

namespace ssm::cpu::fast {

// Rows of x of a step that rows of the weight are multiplied with before the next ones are: these
// stay in the first-level cache meanwhile.
inline constexpr size_t kStepRows = 8;

// The rows that are multiplied: x as it is, or normed.
class LinearInput {
 public:
  // Buffer 0 is x (rows, inputs), rows x_stride apart; buffer `norm_weight` the norm's (inputs),
  // the one after it sums of squares (rows, norm_parts).
  template <class Params>
  LinearInput(const Operation& operation, const Params& p, size_t norm_weight)
      : x_(operation.data<const float>(0)),
        weight_(operation.data<const float>(norm_weight)),
        squares_(operation.data<const float>(norm_weight + 1)),
        rows_(p.rows),
        inputs_(p.inputs),
        stride_(p.x_stride),
        group_cols_(p.norm_group_cols),
        parts_(p.norm_parts),
        eps_(p.norm_eps) {}

  const float* row(size_t r) const { return x_ + r * stride_; }
  size_t stride() const { return stride_; }
  bool is_normed() const { return group_cols_ != 0; }

  // Row r, normed.
  void norm(size_t r, const Kernels& kernels, float* out) const {
    const size_t groups = inputs_ / group_cols_;
    const size_t parts = parts_ / groups;  // of a group
    for (size_t g = 0; g < groups; ++g) {
      const size_t first = g * group_cols_;
      const float* x = row(r) + first;
      float sum = squares_ == nullptr ? kernels.sum_of_squares(x, group_cols_) : 0.0f;
      for (size_t i = 0; i < parts; ++i) sum += squares_[r * parts_ + g * parts + i];
      const float mean_square = sum / static_cast<float>(group_cols_);
      const float scale = 1.0f / std::sqrt(mean_square + eps_);
      kernels.scale_row(x, weight_ + first, scale, group_cols_, out + first);
    }
  }

  // Norms all rows at once, where there is a norm: row() has them then.
  void norm_rows(ThreadPool& threads, const Kernels& kernels) {
    if (!is_normed()) return;
    normed_ = std::make_unique_for_overwrite<float[]>(rows_ * inputs_);
    threads.parallel_for(rows_, inputs_, [&](size_t begin, size_t end) {
      for (size_t r = begin; r < end; ++r) norm(r, kernels, normed_.get() + r * inputs_);
    });
    x_ = normed_.get();
    stride_ = inputs_;
    group_cols_ = 0;
  }

 private:
  const float* x_;
  const float* weight_;
  const float* squares_;
  size_t rows_;
  size_t inputs_;
  size_t stride_;
  size_t group_cols_;
  size_t parts_;
  float eps_;
  std::unique_ptr<float[]> normed_;
};

// What follows the product of a row.
class LinearOutput {
 public:
  // `scale` is the number of the scale's buffer, which bias, the norm's two, gate, residual and out
  // follow.
  template <class Params>
  LinearOutput(const Operation& operation, const Params& p, size_t scale)
      : scale_(operation.data<const float>(scale)),
        bias_(operation.data<const float>(scale + 1)),
        gate_(operation.data<const float>(scale + 4)),
        residual_(operation.data<const float>(scale + 5)),
        out_(operation.data<float>(scale + 6)),
        outputs_(p.outputs),
        activation_(p.activation) {}

  // Columns first_col to first_col + cols of row r from their sums.
  void finish(size_t r, size_t first_col, size_t cols, const float* sums,
              const Kernels& kernels) const {
    const size_t at = r * outputs_ + first_col;
    kernels.finish_row(sums, scale_ == nullptr ? nullptr : scale_ + first_col,
                       bias_ == nullptr ? nullptr : bias_ + first_col, activation_,
                       gate_ == nullptr ? nullptr : gate_ + at,
                       residual_ == nullptr ? nullptr : residual_ + at, cols, out_ + at);
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

// The product of a step: splits the rows of a weight over the threads, a few at a time, which stay
// in cache for all rows of x, so that the weight streams from memory once. products(first, count,
// row, rows, sums) puts the product of `rows` rows of x from `row` on with so many weight rows into
// sums (rows, count), which go to `out`. What it computes for a row must not depend on the others.
template <class Params, class Products>
void multiply_step(const Params& p, size_t row_bytes, const LinearOutput& out, ThreadPool& threads,
                   const Kernels& kernels, const Products& products) {
  constexpr size_t kBlock = 16;  // weight rows
  const size_t blocks = (p.outputs + kBlock - 1) / kBlock;
  const size_t strips = (p.rows + kStepRows - 1) / kStepRows;
  threads.parallel_for(blocks, kBlock * row_bytes * strips, [&](size_t begin, size_t end) {
    float sums[kStepRows * kBlock];
    for (size_t block = begin; block < end; ++block) {
      const size_t first = block * kBlock;
      const size_t count = std::min<size_t>(kBlock, p.outputs - first);
      for (size_t row = 0; row < p.rows; row += kStepRows) {
        const size_t rows = std::min<size_t>(kStepRows, p.rows - row);
        products(first, count, row, rows, sums);
        for (size_t r = 0; r < rows; ++r) {
          out.finish(row + r, first, count, sums + r * count, kernels);
        }
      }
    }
  });
}

}  // namespace ssm::cpu::fast
