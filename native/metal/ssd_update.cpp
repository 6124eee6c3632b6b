#include "dispatch.h"

namespace ssm::metal {

void ssd_update(const Operation& operation, Program& program) {
  const auto p = operation.params<SsdUpdateParams>();
  const Binding& state = operation.bindings[7];
  const bool vectors = p.d_state % 4 == 0 && state.offset % 16 == 0;
  const uint32_t rows = std::min({8u, p.head_dim, program.limits().max_threads / kSimdWidth});
  auto dispatch = make_dispatch<SsdUpdateParams>(kernel_name("ssd_update", operation, {0}),
                                                 operation, 0b110000000);
  dispatch.constants = {{0, vectors}};
  dispatch.threads = {rows * kSimdWidth};
  dispatch.threadgroups = {ceil_divide(p.head_dim, rows), p.heads, p.batch};
  program.add(dispatch);
}

}  // namespace ssm::metal
