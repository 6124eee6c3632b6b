// What a command list is made of: one operation, its parameters and the buffers that it reads and
// writes. Nothing here knows a device.
#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

#include "native/data_type.h"
#include "native/memory.h"

namespace ssm {

// The number of an operation, by which tables have it. No name stands for one here: what needs a
// certain operation is the operation's own file, so that a new one compiles nothing anew.
enum class OperationKind : uint16_t {};

inline constexpr size_t kMaxBuffers = 14;
inline constexpr size_t kMaxParamBytes = 64;

// What an operation does to a buffer, in the words of metal/operation.h.
enum class Access : uint8_t {
  reads,
  looks_up,
  reads_slots,
  reads_pages,
  writes,
  updates_slots,
  updates_pages,
};

constexpr bool is_written(Access access) {
  return access == Access::writes || access == Access::updates_slots ||
         access == Access::updates_pages;
}
// Whether it has a part for each slot, of which the operation uses those of its rows.
constexpr bool is_slotted(Access access) {
  return access == Access::reads_slots || access == Access::updates_slots;
}
// Whether it is made of pages, of which the operation uses those that the table of its rows names.
constexpr bool is_paged(Access access) {
  return access == Access::reads_pages || access == Access::updates_pages;
}

struct FieldInfo {
  const char* name;
  bool is_float;  // else a uint32_t
};

struct BufferInfo {
  const char* name;
  Access access;
  bool is_optional;
};

// What the header of an operation states.
struct OperationInfo {
  const char* name;      // as files have it: rms_norm
  const char* api_name;  // as lib/ and messages have it: rmsNorm
  std::span<const FieldInfo> fields;
  std::span<const BufferInfo> buffers;

  size_t param_bytes() const { return 4 * fields.size(); }
  // Index of a buffer. Throws std::logic_error when the operation has none of this name.
  size_t index_of(std::string_view buffer) const;
};

// All of them, by number. scripts/operations.mjs writes this function when the addon is built.
std::span<const OperationInfo> operations();

inline const OperationInfo& info_of(OperationKind kind) {
  return operations()[static_cast<size_t>(kind)];
}

// Part of a Memory, bound to one argument of an operation. An absent optional argument has no
// memory.
struct Binding {
  std::shared_ptr<Memory> memory;
  size_t offset = 0;  // bytes
  size_t bytes = 0;
  DataType type = kFloat32;
};

struct Operation {
  OperationKind kind;
  std::array<Binding, kMaxBuffers> bindings;
  alignas(8) std::array<std::byte, kMaxParamBytes> param_bytes;

  const OperationInfo& info() const { return info_of(kind); }

  template <class Params>
  Params params() const {
    static_assert(sizeof(Params) <= kMaxParamBytes);
    Params p;
    std::memcpy(&p, param_bytes.data(), sizeof(Params));
    return p;
  }

  // The uint32_t field of this name. Throws std::logic_error when there is none.
  uint32_t field(std::string_view name) const;

  // The argument of this name.
  const Binding& binding(std::string_view name) const { return bindings[info().index_of(name)]; }

  // Argument i as a pointer; null for an absent optional one. Alignment was checked when the
  // operation was recorded.
  template <class T>
  T* data(size_t i) const {
    const Binding& binding = bindings[i];
    return binding.memory ? reinterpret_cast<T*>(binding.memory->data() + binding.offset) : nullptr;
  }
};

}  // namespace ssm
