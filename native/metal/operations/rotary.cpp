#include "metal/rotary.h"

#include "native/metal/grid.h"

namespace ssm::metal {

void rotary(const Operation& operation, Program& program) {
  const auto p = operation.params<RotaryParams>();
  auto dispatch = make_dispatch<RotaryParams>(kernel_name("rotary", operation, {"x"}), operation);
  dispatch.constants = {{"normed", operation.binding("normWeight").memory != nullptr},
                        {"turned", operation.binding("frequencies").memory != nullptr}};
  dispatch.threads = {threads_for(p.heads * kSimdWidth, 256, program.limits())};
  const uint32_t simdgroups = dispatch.threads.x / kSimdWidth;
  dispatch.threadgroups = {ceil_divide(p.heads, simdgroups), p.batch * p.length};
  program.add(dispatch);
}

}  // namespace ssm::metal
