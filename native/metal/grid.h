// Grids that the dispatch code of several operations shares.
#pragma once

#include "native/metal/dispatch.h"

namespace ssm::metal {

// Threads of a threadgroup for `items` of work: whole simdgroups, at most `most`, and no more than
// the GPU allows.
inline uint32_t threads_for(uint32_t items, uint32_t most, const Limits& limits) {
  const uint32_t allowed = std::min(most, limits.max_threads) / kSimdWidth;
  return std::clamp(ceil_divide(items, kSimdWidth), 1u, std::max(allowed, 1u)) * kSimdWidth;
}

// A thread for each of `items`, in threadgroups of up to 256, in each of `rows`.
inline void one_thread_each(Dispatch& dispatch, uint32_t items, uint32_t rows,
                            const Limits& limits) {
  dispatch.threads = {threads_for(items, 256, limits)};
  dispatch.threadgroups = {ceil_divide(items, dispatch.threads.x), rows};
}

// A threadgroup of up to `most` threads for each of x * y rows, `items` of work in each, with
// threadgroup memory of `scratch` bytes a simdgroup.
inline void one_threadgroup_each(Dispatch& dispatch, uint32_t x, uint32_t y, uint32_t items,
                                 uint32_t most, uint32_t scratch, const Limits& limits) {
  dispatch.threads = {threads_for(items, most, limits)};
  dispatch.threadgroups = {x, y};
  const uint32_t bytes = dispatch.threads.x / kSimdWidth * scratch;
  dispatch.threadgroup_memory = {{0, ceil_divide(bytes, 16) * 16}};
}

}  // namespace ssm::metal
