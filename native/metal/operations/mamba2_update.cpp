#include "metal/mamba2_update.h"

#include <bit>

#include "metal/conv1d_shape.h"
#include "metal/ssd_update.h"
#include "native/metal/grid.h"

namespace ssm::metal {

void mamba2_update(const Operation& operation, Program& program) {
  const auto p = operation.params<Mamba2UpdateParams>();
  const Binding& state = operation.binding("ssmState");
  const bool vectors = p.d_state % 4 == 0 && state.offset % 16 == 0;
  // As many rows of the state at a time as divide the head and leave no simdgroup without any.
  const Limits& limits = program.limits();
  const uint32_t most = std::min(limits.tuning.update_simdgroups, limits.max_threads / kSimdWidth);
  uint32_t rows = std::bit_floor(limits.tuning.update_rows);
  while (rows > 1 && (p.head_dim % rows != 0 || p.head_dim / rows < most)) rows /= 2;
  // A simdgroup for each such rows, and a thread for each channel, as far as there are any.
  const uint64_t channels = p.head_dim + 2 * uint64_t{p.d_state};
  const uint64_t items = std::max(uint64_t{p.head_dim / rows} * kSimdWidth, channels);
  const uint32_t threads = threads_for(static_cast<uint32_t>(std::min<uint64_t>(items, 1024)),
                                       most * kSimdWidth, limits);
  const uint64_t bytes = round_up(4 * channels, 16);
  const uint64_t scratch = round_up(4 * (threads / kSimdWidth), 16);
  require(limits, operation, threads, bytes + scratch);

  auto dispatch = make_dispatch<Mamba2UpdateParams>(
      kernel_name("mamba2_update", operation, {"zxBCdt"}), operation);
  dispatch.constants = {{"has_bias", p.has_bias},
                        {"vectors", vectors},
                        {"state_rows", rows},
                        {"taps", p.width <= kMostTaps ? p.width : 0},
                        {"with_silu", p.activation == kSilu}};
  dispatch.threads = {threads};
  dispatch.threadgroup_memory = {{0, static_cast<uint32_t>(bytes)},
                                 {1, static_cast<uint32_t>(scratch)}};
  dispatch.threadgroups = {p.heads, p.batch};
  program.add(dispatch);
}

}  // namespace ssm::metal
