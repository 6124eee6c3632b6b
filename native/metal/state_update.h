// The threadgroups of a fused step of a recurrent layer: one for each head of each row, which
// convolves the head's channels and then takes rows of its state in turn.
#pragma once
#include <algorithm>
#include <bit>

#include "native/metal/grid.h"

namespace ssm::metal {

// How many rows of the state a simdgroup takes at a time, and how many threads there are.
struct StateUpdate {
  uint32_t rows, threads;
  uint64_t channel_bytes, scratch_bytes;  // of threadgroup memory

  // A state of `state_rows` rows of `state_cols` columns for each head.
  StateUpdate(const Operation& operation, const Limits& limits, uint32_t state_rows,
              uint32_t state_cols) {
    // As many rows at a time as divide the head and leave no simdgroup without any.
    const uint32_t most =
        std::min(limits.tuning.update_simdgroups, limits.max_threads / kSimdWidth);
    rows = std::bit_floor(limits.tuning.update_rows);
    while (rows > 1 && (state_rows % rows != 0 || state_rows / rows < most)) rows /= 2;
    // A simdgroup for each such rows, and a thread for each channel, as far as there are any.
    const uint64_t channels = state_rows + 2 * uint64_t{state_cols};
    const uint64_t items = std::max(uint64_t{state_rows / rows} * kSimdWidth, channels);
    threads = threads_for(static_cast<uint32_t>(std::min<uint64_t>(items, 1024)), most * kSimdWidth,
                          limits);
    channel_bytes = round_up(4 * channels, 16);
    scratch_bytes = round_up(4 * (threads / kSimdWidth), 16);
    require(limits, operation, threads, channel_bytes + scratch_bytes);
  }

  void size(Dispatch& dispatch, uint32_t heads, uint32_t batch) const {
    dispatch.threads = {threads};
    dispatch.threadgroup_memory = {{0, static_cast<uint32_t>(channel_bytes)},
                                   {1, static_cast<uint32_t>(scratch_bytes)}};
    dispatch.threadgroups = {heads, batch};
  }
};

}  // namespace ssm::metal
