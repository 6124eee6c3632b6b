// The matrix product of a chunk by a BLAS where the build has one: Accelerate's on macOS,
// which reaches matrix units that vector instructions do not.
#pragma once

#include "native/cpu/fast/mat_mat.h"

#if defined(SSM_BLAS_HEADER)
#include SSM_BLAS_HEADER

namespace ssm::cpu::fast {

// As multiply_matrix. weight.unpack(first, count, to) writes rows of the weight as float32
// (count, inputs). What one thread hands over at once does not depend on how many there are, so
// neither do results, as far as the library repeats its own.
template <class Params, class Weight>
void multiply_by_blas(const Operation& operation, const Params& p, size_t scale,
                      ThreadPool& threads, const Kernels& kernels, const Weight& weight) {
  constexpr size_t kCols = 256;  // of out that are computed at once
  const LinearInput x(operation, p, scale + 2);
  const LinearOutput out(operation, p, scale);
  const size_t inputs = p.inputs, blocks = (p.outputs + kCols - 1) / kCols;
  for (size_t first = 0; first < p.rows; first += kMatMatRows) {
    const size_t rows = std::min<size_t>(kMatMatRows, p.rows - first);
    const float* a = x.row(first);
    if (x.is_normed()) {
      float* normed = scratch<Scratch::kShared>(rows * inputs);
      threads.parallel_for(rows, inputs, [&](size_t begin, size_t end) {
        for (size_t r = begin; r < end; ++r) x.norm(first + r, kernels, normed + r * inputs);
      });
      a = normed;
    }
    const size_t cost = rows * inputs * kCols / kMatMatSpeedup;
    threads.parallel_for(blocks, cost, [&](size_t begin, size_t end) {
      float* sums = scratch<Scratch::kOwn>((rows + inputs) * kCols);  // (rows, kCols)
      float* b = sums + rows * kCols;                                 // (kCols, inputs)
      for (size_t block = begin; block < end; ++block) {
        const size_t n = block * kCols, cols = std::min<size_t>(kCols, p.outputs - n);
        weight.unpack(n, cols, b);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(rows),
                    static_cast<int>(cols), static_cast<int>(inputs), 1.0f, a,
                    static_cast<int>(x.is_normed() ? inputs : x.stride()), b,
                    static_cast<int>(inputs), 0.0f, sums, static_cast<int>(kCols));
        for (size_t r = 0; r < rows; ++r) {
          out.finish(first + r, n, cols, sums + r * kCols, kernels);
        }
      }
    });
  }
}

}  // namespace ssm::cpu::fast
#endif

namespace ssm::cpu::fast {

template <class Params, class Weight>
void multiply_many(const Operation& operation, const Params& p, size_t scale, ThreadPool& threads,
                   const Kernels& kernels, const Weight& weight) {
#if defined(SSM_BLAS_HEADER)
  multiply_by_blas(operation, p, scale, threads, kernels, weight);
#else
  multiply_matrix(operation, p, scale, threads, kernels, weight);
#endif
}

}  // namespace ssm::cpu::fast
