#include "bindings.h"

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>

#include "native/metal/program.h"
#include "runtime.h"

namespace metal_stand_in {

namespace {

using Key = std::tuple<std::string, uint32_t, const std::byte*, std::vector<std::byte>>;

struct Extent {
  size_t bytes = 0;
  // Where the argument lies; other memory may come to lie there when this one is gone.
  std::weak_ptr<ssm::Memory> memory;
};

struct Known {
  std::mutex mutex;
  std::map<Key, Extent> extents;
};

Known& known() {
  static auto* instance = new Known;  // never destroyed: threads outlive main()
  return *instance;
}

// Where an argument lies: its address, or its offset in the block of a run, whichever block that
// is.
const std::byte* place_of(const ssm::Binding& binding) {
  if (binding.memory->is_run_block()) return reinterpret_cast<const std::byte*>(binding.offset);
  return binding.memory->data() + binding.offset;
}

void note(const ssm::metal::Dispatch& dispatch) {
  const std::lock_guard lock(known().mutex);
  for (const auto& [index, binding, written] : dispatch.buffers) {
    Extent& extent = known().extents[{dispatch.kernel, index, place_of(binding), dispatch.params}];
    const bool is_same = binding.memory->is_run_block() || extent.memory.lock() == binding.memory;
    // Of programs that are gone, too.
    extent = {is_same ? std::max(extent.bytes, binding.bytes) : binding.bytes, binding.memory};
  }
}

bool has_all_memory(const ssm::metal::Dispatch& dispatch) {
  return std::all_of(dispatch.buffers.begin(), dispatch.buffers.end(), [](const auto& argument) {
    return argument.binding.memory != nullptr && argument.binding.memory->data() != nullptr;
  });
}

}  // namespace

size_t argument_bytes(const std::string& kernel, uint32_t index, const std::byte* begin,
                      size_t offset, const std::vector<std::byte>& params) {
  const std::lock_guard lock(known().mutex);
  // A kernel compiled from a text has the text's hash behind its name (libraries.mm).
  const std::string name = kernel.substr(0, kernel.find('@'));
  for (const std::byte* place : {begin + offset, reinterpret_cast<const std::byte*>(offset)}) {
    const auto found = known().extents.find({name, index, place, params});
    if (found != known().extents.end()) return found->second.bytes;
  }
  return 0;
}

}  // namespace metal_stand_in

namespace ssm::metal {

// What the device's files call as make_program (CMakeLists.txt renames it there). Throws besides
// what is wrong with a dispatch: an argument or a constant that its kernel lacks or needs,
// `written` of what the kernel has const.
Program watched_make_program(const CommandList& list, const Limits& limits,
                             Program::Allocate allocate) {
  Program program = make_program(list, limits, allocate);
  for (const Dispatch& dispatch : program.dispatches()) {
    if (!metal_stand_in::has_all_memory(dispatch)) continue;
    software_metal::check_dispatch(dispatch);
    metal_stand_in::note(dispatch);
  }
  return program;
}

}  // namespace ssm::metal
