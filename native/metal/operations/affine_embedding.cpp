#include "metal/affine_embedding.h"

#include "native/metal/grid.h"

namespace ssm::metal {

void affine_embedding(const Operation& operation, Program& program) {
  const auto p = operation.params<AffineEmbeddingParams>();
  auto dispatch = make_dispatch<AffineEmbeddingParams>(
      kernel_name("affine_embedding", operation, {"scales"}), operation);
  one_thread_each(dispatch, p.cols / (32 / p.bits), p.rows, program.limits());
  program.add(dispatch);
}

}  // namespace ssm::metal
