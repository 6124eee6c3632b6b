#include "metal/sample.h"

#include "native/metal/grid.h"

namespace ssm::metal {

void sample(const Operation& operation, Program& program) {
  const auto p = operation.params<SampleParams>();
  if (p.vocabulary >= 1u << 24) {
    throw std::invalid_argument("[sample] the vocabulary must be smaller than 2^24 but is " +
                                std::to_string(p.vocabulary));
  }
  auto dispatch = make_dispatch<SampleParams>("sample_float32", operation);
  dispatch.constants = {{"has_logits", p.has_logits}};
  const Binding scores = program.scratch(size_t{p.batch} * p.vocabulary * sizeof(float));
  dispatch.writes(dispatch.params_index + 1, scores);
  one_threadgroup_each(dispatch, p.batch, 1, ceil_divide(p.vocabulary, 4), 1024,
                       2 * sizeof(uint32_t), program.limits());
  dispatch.threadgroup_memory.push_back({1, kBinBytes});
  dispatch.threadgroup_memory.push_back({2, kSumBytes});
  uint64_t bytes = 0;
  for (const auto& [index, size] : dispatch.threadgroup_memory) bytes += size;
  require(program.limits(), operation, dispatch.threads.x, bytes);
  program.add(dispatch);
}

}  // namespace ssm::metal
