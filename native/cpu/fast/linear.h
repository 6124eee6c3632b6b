// What the fast versions of matmul and affine_matmul share.
#pragma once

#include <cmath>
#include <cstddef>
#include <memory>

#include "cpu/fast/kernels.h"
#include "cpu/linear.h"
#include "cpu/thread_pool.h"

namespace ssm::cpu::fast {

// Rows of x up to which a weight is multiplied row by row as it streams from memory.
inline constexpr size_t kMatVecRows = 8;

// The rows that are multiplied: x as it is, or normed. As LinearInput (linear.h), by kernels.
class Rows {
 public:
  template <class Params>
  Rows(const Operation& operation, const Params& p, size_t norm_weight, const Kernels& kernels)
      : rows_(operation.data<const float>(0)), stride_(p.x_stride) {
    if (p.norm_group_cols == 0) return;
    const auto* w = operation.data<const float>(norm_weight);
    const auto* squares = operation.data<const float>(norm_weight + 1);
    const size_t groups = p.inputs / p.norm_group_cols;
    const size_t parts = p.norm_parts / groups;  // of a group
    normed_ = std::make_unique_for_overwrite<float[]>(size_t{p.rows} * p.inputs);
    for (size_t r = 0; r < p.rows; ++r) {
      for (size_t g = 0; g < groups; ++g) {
        const size_t first = g * p.norm_group_cols;
        const float* x = row(r) + first;
        float sum = squares == nullptr ? kernels.sum_of_squares(x, p.norm_group_cols) : 0.0f;
        for (size_t i = 0; i < parts; ++i) sum += squares[r * p.norm_parts + g * parts + i];
        const float mean_square = sum / static_cast<float>(p.norm_group_cols);
        const float scale = 1.0f / std::sqrt(mean_square + p.norm_eps);
        kernels.scale_row(x, w + first, scale, p.norm_group_cols,
                          normed_.get() + r * p.inputs + first);
      }
    }
    rows_ = normed_.get();
    stride_ = p.inputs;
  }
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;

  const float* row(size_t r) const { return rows_ + r * stride_; }
  size_t stride() const { return stride_; }

 private:
  const float* rows_;
  size_t stride_;
  std::unique_ptr<float[]> normed_;
};

// Splits the rows of a weight over the threads, a few at a time: products(first, count, sums) puts
// x · wᵀ of so many weight rows into sums (rows, count), which go to `out`.
template <class Params, class Products>
void multiply_rows(const Params& p, size_t row_bytes, const LinearOutput& out, ThreadPool& threads,
                   const Products& products) {
  constexpr size_t kBlock = 16;  // weight rows
  const size_t blocks = (p.outputs + kBlock - 1) / kBlock;
  threads.parallel_for(blocks, kBlock * row_bytes, [&](size_t begin, size_t end) {
    float sums[kMatVecRows * kBlock];
    for (size_t block = begin; block < end; ++block) {
      const size_t first = block * kBlock;
      const size_t count = std::min<size_t>(kBlock, p.outputs - first);
      products(first, count, sums);
      for (size_t r = 0; r < p.rows; ++r) {
        for (size_t n = 0; n < count; ++n) out.store(r, first + n, sums[r * count + n]);
      }
    }
  });
}

}  // namespace ssm::cpu::fast
