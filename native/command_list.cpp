#include "native/command_list.h"

#include <algorithm>
#include <stdexcept>

#include "native/run_block.h"

namespace ssm {

void CommandList::add(OperationKind kind, std::vector<Binding> bindings, const void* params,
                      size_t param_bytes) {
  const OperationInfo& info = info_of(kind);
  const auto fail = [&](const std::string& what) {
    throw std::invalid_argument("[" + std::string(info.api_name) + "] " + what);
  };
  if (sealed_) fail("was recorded after its command list had run");
  if (bindings.size() != info.buffers.size()) {
    fail("takes " + std::to_string(info.buffers.size()) + " buffers but got " +
         std::to_string(bindings.size()));
  }
  if (param_bytes != info.param_bytes()) {
    fail("takes " + std::to_string(info.param_bytes()) + " bytes of parameters but got " +
         std::to_string(param_bytes));
  }
  Operation operation = {};
  operation.kind = kind;
  std::memcpy(operation.param_bytes.data(), params, param_bytes);
  for (size_t i = 0; i < bindings.size(); ++i) {
    const Binding& b = bindings[i];
    const std::string argument = info.buffers[i].name;
    if (!b.memory && !info.buffers[i].is_optional) fail(argument + " is missing");
    if (!b.memory) continue;
    const bool written = is_written(info.buffers[i].access);
    if (b.offset > b.memory->size() || b.bytes > b.memory->size() - b.offset) {
      fail(argument + " reaches past the end of its memory");
    }
    if (b.offset % size_of(b.type) != 0) {
      fail(argument + " is not aligned to " + name_of(b.type));
    }
    if (written && b.memory->is_mapped_file()) fail(argument + " is written but is a mapped file");
    if (!b.memory->is_run_block()) continue;
    if (b.memory != block_) fail(argument + " is an input or output of another command list");
    if (b.offset < kOutputsOffset && b.offset + b.bytes > kOutputsOffset) {
      fail(argument + " reaches from the inputs of a run into its outputs");
    }
    if (written && b.offset < kOutputsOffset) fail(argument + " is written but is an input");
  }
  for (size_t i = 0; i < bindings.size(); ++i) operation.bindings[i] = std::move(bindings[i]);
  for (size_t i = 0; i < info.buffers.size(); ++i) {
    if (operation.bindings[i].memory) note_use(operation, i);
  }
  operations_.push_back(std::move(operation));
}

const std::shared_ptr<Memory>& CommandList::block() {
  if (!block_) block_ = Memory::allocate_run_block();
  return block_;
}

namespace {

// Whether an operation writes all of a memory and nowhere looks at it.
bool writes_whole(const Operation& operation, const Memory& memory) {
  const std::span<const BufferInfo> buffers = operation.info().buffers;
  bool is_whole = false;
  for (size_t i = 0; i < buffers.size(); ++i) {
    const Binding& binding = operation.bindings[i];
    if (binding.memory.get() != &memory) continue;
    if (buffers[i].access != Access::writes) return false;
    is_whole |= binding.offset == 0 && binding.bytes == memory.size();
  }
  return is_whole;
}

}  // namespace

void CommandList::note_use(const Operation& operation, size_t buffer) {
  const Binding& binding = operation.bindings[buffer];
  const bool written = is_written(operation.info().buffers[buffer].access);
  const std::shared_ptr<Memory>& memory = binding.memory;
  if (memory->is_run_block()) {
    const size_t end = binding.offset + binding.bytes;
    if (binding.offset < kOutputsOffset)
      input_bytes_ = std::max(input_bytes_, end);
    else
      output_bytes_ = std::max(output_bytes_, end - kOutputsOffset);
    return;
  }
  planned_ |= memory->is_planned();
  const auto known = std::find_if(uses_.begin(), uses_.end(),
                                  [&](const Use& use) { return use.memory == memory; });
  if (known == uses_.end()) {
    uses_.push_back(
        {.memory = memory, .written = written, .written_whole = writes_whole(operation, *memory)});
  } else {
    known->written |= written;
  }
}

void CommandList::mark_submitted() {
  sealed_ = true;
  for (Use& use : uses_) (use.written ? use.memory->writers : use.memory->readers) += 1;
}

void CommandList::mark_finished() {
  for (Use& use : uses_) (use.written ? use.memory->writers : use.memory->readers) -= 1;
}

bool CommandList::reads_a_mixture() const {
  return std::any_of(uses_.begin(), uses_.end(),
                     [](const Use& use) { return use.memory->is_mixture && !use.written_whole; });
}

void CommandList::mark_written(bool is_mixture) {
  for (Use& use : uses_) {
    if (is_mixture ? use.written : use.written_whole) use.memory->is_mixture = is_mixture;
  }
}

}  // namespace ssm
