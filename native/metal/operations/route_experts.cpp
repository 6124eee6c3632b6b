#include "metal/route_experts.h"

#include "native/metal/grid.h"

namespace ssm::metal {

void route_experts(const Operation& operation, Program& program) {
  const auto p = operation.params<RouteExpertsParams>();
  auto dispatch = make_dispatch<RouteExpertsParams>("route_experts", operation);
  dispatch.constants = {{"has_bias", p.has_bias}};
  // One simdgroup a row.
  dispatch.threads = {threads_for(256, 256, program.limits())};
  dispatch.threadgroups = {ceil_divide(p.rows, dispatch.threads.x / kSimdWidth)};
  program.add(dispatch);
}

}  // namespace ssm::metal
