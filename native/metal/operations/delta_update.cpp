#include "metal/delta_update.h"

#include <bit>

#include "metal/conv1d_shape.h"
#include "metal/ssd_update.h"
#include "native/metal/grid.h"

namespace ssm::metal {

// The same grid as that of mamba2_update.
void delta_update(const Operation& operation, Program& program) {
  const auto p = operation.params<DeltaUpdateParams>();
  const Binding& state = operation.binding("state");
  const bool vectors = p.key_dim % 4 == 0 && state.offset % 16 == 0;
  // As many rows of the state at a time as divide the head and leave no simdgroup without any.
  const Limits& limits = program.limits();
  const uint32_t most = std::min(limits.tuning.update_simdgroups, limits.max_threads / kSimdWidth);
  uint32_t rows = std::bit_floor(limits.tuning.update_rows);
  while (rows > 1 && (p.value_dim % rows != 0 || p.value_dim / rows < most)) rows /= 2;
  // A simdgroup for each such rows, and a thread for each channel, as far as there are any.
  const uint64_t channels = p.value_dim + 2 * uint64_t{p.key_dim};
  const uint64_t items = std::max(uint64_t{p.value_dim / rows} * kSimdWidth, channels);
  const uint32_t threads = threads_for(static_cast<uint32_t>(std::min<uint64_t>(items, 1024)),
                                       most * kSimdWidth, limits);
  const uint64_t bytes = round_up(4 * channels, 16);
  const uint64_t scratch = round_up(4 * (threads / kSimdWidth), 16);
  require(limits, operation, threads, bytes + scratch);

  auto dispatch =
      make_dispatch<DeltaUpdateParams>(kernel_name("delta_update", operation, {"qkv"}), operation);
  dispatch.constants = {{"vectors", vectors},
                        {"state_rows", rows},
                        {"taps", p.width <= kMostTaps ? p.width : 0},
                        {"with_silu", true}};
  dispatch.threads = {threads};
  dispatch.threadgroup_memory = {{0, static_cast<uint32_t>(bytes)},
                                 {1, static_cast<uint32_t>(scratch)}};
  dispatch.threadgroups = {p.heads, p.batch};
  program.add(dispatch);
}

}  // namespace ssm::metal
