// Memory: allocating, mapping, reading and writing it.
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

#include "native/addon/exports.h"
#include "native/addon/mixture.h"
#include "native/addon/values.h"
#include "native/memory.h"

namespace ssm {

namespace {

using Napi::CallbackInfo;
using Napi::Value;

void check_is_own(const Memory& memory) {
  if (!memory.is_run_block()) return;
  throw std::runtime_error(
      "inputs and outputs of a run are given to run() and come with its result");
}

std::byte* part(const Memory& memory, size_t offset, size_t length) {
  if (offset > memory.size() || length > memory.size() - offset) {
    throw std::out_of_range("reaches past the end of its memory");
  }
  if (memory.is_planned()) throw std::logic_error("memory was only planned: it has no bytes");
  return memory.data() + offset;
}

// (bytes, whether all of it will be written at once) -> memory, zeroed
Value allocate(Environment& environment, const CallbackInfo& info) {
  const size_t bytes = size(info, 0);
  const bool is_whole = info[1].As<Napi::Boolean>().Value();
  auto memory = is_whole ? Memory::allocate_whole(bytes) : Memory::allocate(bytes);
  Napi::MemoryManagement::AdjustExternalMemory(info.Env(), static_cast<int64_t>(memory->size()));
  return handle(info, environment.memories().add(std::move(memory)));
}

// (path, begin, bytes, largest part) -> memory, read-only
Value map_file(Environment& environment, const CallbackInfo& info) {
  return handle(info, environment.memories().add(
                          Memory::map_file(info[0].As<Napi::String>().Utf8Value(), size(info, 1),
                                           size(info, 2), size(info, 3))));
}

// (bytes, is a mapped file, largest part) -> memory without bytes
Value plan(Environment& environment, const CallbackInfo& info) {
  return handle(info, environment.memories().add(Memory::plan(
                          size(info, 0), info[1].As<Napi::Boolean>().Value(), size(info, 2))));
}

// (memory) -> bytes
Value bytes_of(Environment& environment, const CallbackInfo& info) {
  const auto& memory = environment.memories().get(integer(info, 0));
  return number(info, static_cast<double>(memory->size()));
}

// (memory, byteOffset, target)
Value read(Environment& environment, const CallbackInfo& info) {
  const auto& memory = environment.memories().get(integer(info, 0));
  Napi::Uint8Array target = bytes(info, 2);
  const std::byte* source = part(*memory, size(info, 1), target.ByteLength());
  check_is_own(*memory);
  if (memory->writers > 0) {
    throw std::runtime_error("a run in flight writes this memory: await it first");
  }
  if (memory->is_mixture) throw std::runtime_error(kMixture);
  if (target.ByteLength() > 0) std::memcpy(target.Data(), source, target.ByteLength());
  return info.Env().Undefined();
}

// (memory, byteOffset, source)
Value write(Environment& environment, const CallbackInfo& info) {
  const auto& memory = environment.memories().get(integer(info, 0));
  Napi::Uint8Array source = bytes(info, 2);
  std::byte* target = part(*memory, size(info, 1), source.ByteLength());
  check_is_own(*memory);
  if (memory->is_mapped_file()) throw std::runtime_error("memory is a read-only file");
  if (memory->writers > 0 || memory->readers > 0) {
    throw std::runtime_error("a run in flight uses this memory: await it first");
  }
  if (source.ByteLength() > 0) std::memcpy(target, source.Data(), source.ByteLength());
  if (source.ByteLength() == memory->size()) memory->is_mixture = false;
  return info.Env().Undefined();
}

// (memory): nothing of it stays with a GPU until its next use; while runs use it, it does
Value let_go(Environment& environment, const CallbackInfo& info) {
  const auto memory = environment.memories().get(integer(info, 0));
  if (memory->readers == 0 && memory->writers == 0) memory->gpu_views.reset();
  return info.Env().Undefined();
}

// (memory)
Value dispose(Environment& environment, const CallbackInfo& info) {
  const auto memory = environment.memories().remove(integer(info, 0));
  if (!memory->is_mapped_file() && !memory->is_run_block() && !memory->is_planned()) {
    Napi::MemoryManagement::AdjustExternalMemory(info.Env(), -static_cast<int64_t>(memory->size()));
  }
  return info.Env().Undefined();
}

}  // namespace

std::span<const Export> memory_exports() {
  static constexpr Export kExports[] = {
      {"allocate", allocate},    {"mapFile", map_file},      {"planMemory", plan},
      {"memorySize", bytes_of},  {"readMemory", read},       {"writeMemory", write},
      {"letGoOfMemory", let_go}, {"disposeMemory", dispose},
  };
  return kExports;
}

}  // namespace ssm
