#include "metal/quantized_embedding.h"

#include "native/metal/grid.h"
#include "native/metal/quantized.h"

namespace ssm::metal {

void quantized_embedding(const Operation& operation, Program& program) {
  const auto p = operation.params<QuantizedEmbeddingParams>();
  auto dispatch = make_dispatch<QuantizedEmbeddingParams>(
      kernel_name("quantized_embedding", operation, {"scales"}), operation);
  dispatch.constants = constants_of(p);
  one_thread_each(dispatch, p.cols / 8, p.rows, program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
