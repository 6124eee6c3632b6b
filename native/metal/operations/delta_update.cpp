#include "metal/delta_update.h"

#include "metal/conv1d_shape.h"
#include "native/metal/state_update.h"

namespace ssm::metal {

void delta_update(const Operation& operation, Program& program) {
  const auto p = operation.params<DeltaUpdateParams>();
  const Binding& state = operation.binding("state");
  const StateUpdate update(operation, program.limits(), p.value_dim, p.key_dim);
  auto dispatch =
      make_dispatch<DeltaUpdateParams>(kernel_name("delta_update", operation, {"qkv"}), operation);
  dispatch.constants = {{"vectors", p.key_dim % 4 == 0 && state.offset % 16 == 0},
                        {"state_rows", update.rows},
                        {"taps", p.width <= kMostTaps ? p.width : 0},
                        {"with_silu", true}};
  update.size(dispatch, p.heads, p.batch);
  program.add(dispatch);
}

}  // namespace ssm::metal
