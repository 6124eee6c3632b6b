// What the dispatch code of several operations shares.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <stdexcept>
#include <string>

#include "native/metal/program.h"
#include "native/params.h"

namespace ssm::metal {

constexpr uint32_t kSimdWidth = 32;  // threads of a simdgroup, the same on every Apple GPU

constexpr uint64_t round_up(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

constexpr uint32_t ceil_divide(uint32_t a, uint32_t b) { return a / b + (a % b != 0); }

// "cast_float32_float16": a kernel's name ends in the element types of some of the operation's
// buffers.
inline std::string kernel_name(std::string base, const Operation& operation,
                               std::initializer_list<size_t> buffers) {
  for (const size_t i : buffers) base.append("_").append(name_of(operation.bindings[i].type));
  return base;
}

// A dispatch of `kernel` with the buffers of `operation` at their own indices, absent ones left
// out, and its parameters behind them. Bit i of `written`: the kernel writes buffer i. Bit i of
// `unused`: the kernel does not have buffer i.
template <class Params>
Dispatch make_dispatch(std::string kernel, const Operation& operation, unsigned written,
                       unsigned unused = 0) {
  const auto buffers = static_cast<uint32_t>(info_of(operation.kind).buffers);
  Dispatch dispatch;
  dispatch.kernel = std::move(kernel);
  for (uint32_t i = 0; i < buffers; ++i) {
    if (operation.bindings[i].memory == nullptr || (unused >> i & 1) != 0) continue;
    dispatch.buffers.push_back({i, operation.bindings[i], (written >> i & 1) != 0});
  }
  dispatch.params_index = buffers;
  dispatch.params.resize(sizeof(Params));
  std::memcpy(dispatch.params.data(), operation.param_bytes.data(), sizeof(Params));
  return dispatch;
}

// Whether rows of `binding`, `bytes` apart, start at multiples of 16 bytes.
inline bool is_aligned(const Binding& binding, uint64_t bytes) {
  return binding.offset % 16 == 0 && bytes % 16 == 0;
}

// Fails, led by the operation, when the GPU cannot run threadgroups of this size.
inline void require(const Limits& limits, const char* operation, uint32_t threads,
                    uint64_t threadgroup_memory) {
  if (limits.max_threads >= threads && limits.threadgroup_memory >= threadgroup_memory) return;
  throw std::invalid_argument("[" + std::string(operation) + "] needs threadgroups of " +
                              std::to_string(threads) + " threads and " +
                              std::to_string(threadgroup_memory) + " bytes, but this GPU allows " +
                              std::to_string(limits.max_threads) + " threads and " +
                              std::to_string(limits.threadgroup_memory) + " bytes");
}

}  // namespace ssm::metal
