#include "native/metal/program.h"

#include <algorithm>
#include <stdexcept>

#include "native/failure.h"
#include "native/metal/kernel_source.h"
#include "native/metal/work.h"

namespace ssm::metal {

namespace {

bool overlap(const Binding& a, const Binding& b) {
  return a.memory == b.memory && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
}

// Whether the order of the two dispatches matters.
bool conflict(const Dispatch& a, const Dispatch& b) {
  for (const BufferArgument& x : a.buffers) {
    for (const BufferArgument& y : b.buffers) {
      if ((x.written || y.written) && overlap(x.binding, y.binding)) return true;
    }
  }
  return false;
}

// Scratch memory for programs that nobody runs.
std::shared_ptr<Memory> no_memory(size_t) { return nullptr; }

}  // namespace

void Program::add(Dispatch dispatch) {
  check_constants(dispatch.kernel, dispatch.constants);
  dispatch.barrier = false;
  dispatch.operation = added_.size();
  for (size_t i = last_barrier_; i < dispatches_.size() && !dispatch.barrier; ++i) {
    dispatch.barrier = conflict(dispatches_[i], dispatch);
  }
  if (dispatch.barrier) last_barrier_ = dispatches_.size();
  dispatches_.push_back(std::move(dispatch));
}

Binding Program::scratch(size_t bytes, DataType type) {
  constexpr size_t kAlignment = 256;
  const size_t offset = (scratch_used_ + kAlignment - 1) / kAlignment * kAlignment;
  scratch_used_ = offset + bytes;
  scratch_bytes_ = std::max(scratch_bytes_, scratch_used_);
  return {.memory = nullptr, .offset = offset, .bytes = bytes, .type = type};
}

void Program::add(const Operation& operation) {
  scratch_used_ = 0;
  work_ = {};
  const size_t first_dispatch = dispatches_.size();
  on_behalf_of(added_.size(), [&] { dispatch_function(operation.kind)(operation, *this); });
  added_.push_back({.first_dispatch = first_dispatch,
                    .microseconds = microseconds_of(operation, work_),
                    .is_of_a_chunk = is_of_a_chunk(work_)});
}

void Program::check_results() const {
  for (const auto& [index, operation, check] : checks_) {
    on_behalf_of(index, [&] { check(*operation); });
  }
}

void Program::cut_into_pieces() {
  const bool is_cut = std::any_of(added_.begin(), added_.end(),
                                  [](const Added& added) { return added.is_of_a_chunk; });
  double piece_microseconds = 0;
  for (const auto& [first_dispatch, microseconds, is_of_a_chunk] : added_) {
    piece_microseconds += microseconds;
    const bool is_full = is_cut && piece_microseconds > limits_.tuning.piece_microseconds;
    // The operation before had dispatches, so that no piece is empty.
    const bool may_cut = pieces_.empty() || pieces_.back() < first_dispatch;
    if (!may_cut || (!pieces_.empty() && !is_full)) continue;
    pieces_.push_back(first_dispatch);
    piece_microseconds = microseconds;
  }
  if (!pieces_.empty() && pieces_.back() == dispatches_.size()) pieces_.pop_back();
}

void Program::finish() {
  cut_into_pieces();
  if (scratch_bytes_ == 0) return;
  const std::shared_ptr<Memory> memory = allocate_(scratch_bytes_);
  for (Dispatch& dispatch : dispatches_) {
    for (BufferArgument& argument : dispatch.buffers) {
      if (argument.binding.memory == nullptr) argument.binding.memory = memory;
    }
  }
}

Program make_program(const CommandList& list, const Limits& limits, Program::Allocate allocate) {
  Program program(limits, allocate);
  for (const Operation& operation : list.operations()) program.add(operation);
  program.finish();
  return program;
}

std::vector<KernelText> kernel_texts(const CommandList& list, const Limits& limits) {
  return texts_of(make_program(list, limits, no_memory).dispatches());
}

size_t scratch_of(const CommandList& list, const Limits& limits) {
  return make_program(list, limits, no_memory).scratch_bytes();
}

std::string describe(const CommandList& list, const Limits& limits) {
  const Program program = make_program(list, limits, no_memory);
  std::string text;
  const auto add = [&text](uint64_t number, char separator) {
    text += separator;
    text += std::to_string(number);
  };
  for (size_t i = 0; i < program.dispatches().size(); ++i) {
    const Dispatch& dispatch = program.dispatches()[i];
    const auto& pieces = program.pieces();
    if (i > 0 && std::find(pieces.begin(), pieces.end(), i) != pieces.end()) text += '\n';
    text += dispatch.kernel;
    for (const auto& [name, value] : dispatch.constants) {
      text += " " + name;
      add(value, '=');
    }
    for (const Size& size : {dispatch.threadgroups, dispatch.threads}) {
      add(size.x, ' ');
      add(size.y, 'x');
      add(size.z, 'x');
    }
    for (const auto& [index, bytes] : dispatch.threadgroup_memory) add(bytes, ' ');
    text += " params";
    for (const std::byte byte : dispatch.params) add(std::to_integer<unsigned>(byte), ' ');
    text += '\n';
  }
  return text;
}

}  // namespace ssm::metal
