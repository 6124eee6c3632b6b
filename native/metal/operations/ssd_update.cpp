#include "metal/ssd_update.h"

#include "native/metal/dispatch.h"

namespace ssm::metal {

void ssd_update(const Operation& operation, Program& program) {
  const auto p = operation.params<SsdUpdateParams>();
  const Binding& state = operation.binding("state");
  const bool vectors = p.d_state % 4 == 0 && state.offset % 16 == 0;
  const Tuning& tuning = program.limits().tuning;
  const uint64_t all = uint64_t{p.batch} * p.heads * p.head_dim;
  const bool many = p.head_dim % tuning.state_rows == 0 && all / tuning.state_rows >= tuning.fill;
  const uint32_t rows = many ? tuning.state_rows : 1;  // of a simdgroup
  const uint32_t simdgroups = std::min({tuning.state_simdgroups, ceil_divide(p.head_dim, rows),
                                        program.limits().max_threads / kSimdWidth});
  auto dispatch =
      make_dispatch<SsdUpdateParams>(kernel_name("ssd_update", operation, {"x"}), operation);
  dispatch.constants = {{"vectors", vectors}, {"state_rows", rows}};
  dispatch.threads = {simdgroups * kSimdWidth};
  dispatch.threadgroups = {ceil_divide(p.head_dim, simdgroups * rows), p.heads, p.batch};
  program.add(dispatch);
}

}  // namespace ssm::metal
