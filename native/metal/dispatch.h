// What the dispatch code of several operations shares.
#pragma once

#include <algorithm>
#include <array>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "native/metal/program.h"

namespace ssm::metal {

constexpr uint32_t kSimdWidth = 32;  // threads of a simdgroup, the same on every Apple GPU

constexpr uint64_t round_up(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

constexpr uint32_t ceil_divide(uint32_t a, uint32_t b) { return a / b + (a % b != 0); }

// "cast_float32_float16": a kernel's name ends in the element types of some of the operation's
// buffers.
inline std::string kernel_name(std::string base, const Operation& operation,
                               std::initializer_list<std::string_view> buffers) {
  for (const std::string_view buffer : buffers) {
    base.append("_").append(name_of(operation.binding(buffer).type));
  }
  return base;
}

// Where a kernel differs from its operation, which has several.
struct KernelBuffers {
  std::vector<std::string_view> written;  // of the operation's buffers
  std::vector<std::string_view> without;  // those that the kernel does not have
};

// A dispatch of `kernel` with the buffers of `operation` at their own indices, absent ones left
// out, and its parameters behind them. Without `own` it has them all and writes what the operation
// writes.
template <class Params>
Dispatch make_dispatch(std::string kernel, const Operation& operation,
                       const std::optional<KernelBuffers>& own = {}) {
  const OperationInfo& info = operation.info();
  const std::span<const BufferInfo> buffers = info.buffers;
  std::array<bool, kMaxBuffers> written = {}, without = {};
  for (size_t i = 0; i < buffers.size(); ++i) written[i] = !own && is_written(buffers[i].access);
  if (own) {
    for (const std::string_view name : own->written) written[info.index_of(name)] = true;
    for (const std::string_view name : own->without) without[info.index_of(name)] = true;
  }
  Dispatch dispatch;
  dispatch.kernel = std::move(kernel);
  for (uint32_t i = 0; i < buffers.size(); ++i) {
    if (operation.bindings[i].memory == nullptr || without[i]) continue;
    dispatch.buffers.push_back(
        {.index = i, .binding = operation.bindings[i], .written = written[i]});
  }
  dispatch.params_index = static_cast<uint32_t>(buffers.size());
  dispatch.params.resize(sizeof(Params));
  std::memcpy(dispatch.params.data(), operation.param_bytes.data(), sizeof(Params));
  return dispatch;
}

// Whether rows of `binding`, `bytes` apart, start at multiples of 16 bytes.
inline bool is_aligned(const Binding& binding, uint64_t bytes) {
  return binding.offset % 16 == 0 && bytes % 16 == 0;
}

// Fails, led by the operation, when the GPU cannot run threadgroups of this size.
inline void require(const Limits& limits, const Operation& operation, uint32_t threads,
                    uint64_t threadgroup_memory) {
  if (limits.max_threads >= threads && limits.threadgroup_memory >= threadgroup_memory) return;
  throw std::invalid_argument(
      "[" + std::string(operation.info().api_name) + "] needs threadgroups of " +
      std::to_string(threads) + " threads and " + std::to_string(threadgroup_memory) +
      " bytes, but this GPU allows " + std::to_string(limits.max_threads) + " threads and " +
      std::to_string(limits.threadgroup_memory) + " bytes");
}

}  // namespace ssm::metal
