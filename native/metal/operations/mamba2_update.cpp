#include "metal/mamba2_update.h"

#include "metal/conv1d_shape.h"
#include "metal/ssd_update.h"
#include "native/metal/state_update.h"

namespace ssm::metal {

void mamba2_update(const Operation& operation, Program& program) {
  const auto p = operation.params<Mamba2UpdateParams>();
  const Binding& state = operation.binding("ssmState");
  const StateUpdate update(operation, program.limits(), p.head_dim, p.d_state);
  auto dispatch = make_dispatch<Mamba2UpdateParams>(
      kernel_name("mamba2_update", operation, {"zxBCdt"}), operation);
  dispatch.constants = {{"has_bias", p.has_bias},
                        {"vectors", p.d_state % 4 == 0 && state.offset % 16 == 0},
                        {"state_rows", update.rows},
                        {"taps", p.width <= kMostTaps ? p.width : 0},
                        {"with_silu", p.activation == kSilu}};
  update.size(dispatch, p.heads, p.batch);
  program.add(dispatch);
}

}  // namespace ssm::metal
