// What native/cpu/operations/argmax.cpp computes.
#include "metal/argmax.h"

#include "native/cpu/fast/largest.h"
#include "native/cpu/operations.h"

namespace ssm::cpu::fast {

void argmax(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
  const auto p = operation.params<ArgmaxParams>();
  const auto* x = operation.data<const float>(0);  // (rows, cols)
  auto* out = operation.data<uint32_t>(1);         // (rows)
  threads.parallel_for(p.rows, p.cols, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      const auto [index, is_nan] = largest(x + r * p.cols, p.cols, kernels);
      out[r] = is_nan ? kNoIndex : static_cast<uint32_t>(index);
    }
  });
}

}  // namespace ssm::cpu::fast
