// A command list as the GPU runs it: dispatches of kernels, plain data.
// native/metal/operations/<operation>.cpp appends the dispatches of one operation; a device encodes
// a program once and runs it many times. No Apple type appears here, so the very same code runs on
// Linux.
#pragma once

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "native/command_list.h"
#include "native/kernel_text.h"
#include "native/metal/tuning.h"
#include "native/metal/work.h"
#include "native/operation.h"

namespace ssm::metal {

struct Size {
  uint32_t x = 1, y = 1, z = 1;
};

// SSM_CONSTANT(type, name) of a kernel: a bool (0 or 1) or a uint.
struct Constant {
  std::string name;
  uint32_t value;
};

struct BufferArgument {
  uint32_t index;  // [[buffer(index)]]
  Binding binding;
  bool written;
};

struct ThreadgroupMemory {
  uint32_t index;  // [[threadgroup(index)]]
  uint32_t bytes;  // a multiple of 16
};

struct Dispatch {
  std::string kernel;               // its host name
  std::vector<Constant> constants;  // each that the kernel has, and no other
  std::vector<BufferArgument> buffers;
  uint32_t params_index = 0;  // [[buffer(params_index)]]
  std::vector<std::byte> params;
  std::vector<ThreadgroupMemory> threadgroup_memory;
  Size threadgroups;
  Size threads;          // of a threadgroup
  bool barrier = false;  // wait for the dispatches before this one: set by Program::add
  size_t operation = 0;  // index in the list: likewise

  void reads(uint32_t index, Binding binding) {
    buffers.push_back({.index = index, .binding = std::move(binding), .written = false});
  }
  void writes(uint32_t index, Binding binding) {
    buffers.push_back({.index = index, .binding = std::move(binding), .written = true});
  }
  uint32_t threads_of_group() const { return threads.x * threads.y * threads.z; }
};

// What dispatch code may ask of the GPU at hand. Never assumed: the device fills it in.
struct Limits {
  uint32_t max_threads = 1024;              // of a threadgroup
  uint32_t threadgroup_memory = 32 * 1024;  // bytes of a threadgroup
  Tuning tuning = kAppleTuning;
};

// Throws Failed for bad data.
using CheckResults = void (*)(const Operation& operation);

class Program {
 public:
  // `allocate` makes the scratch memory, which lives as long as the program.
  using Allocate = std::shared_ptr<Memory> (*)(size_t bytes);
  Program(const Limits& limits, Allocate allocate) : limits_(limits), allocate_(allocate) {}

  const Limits& limits() const { return limits_; }
  const std::vector<Dispatch>& dispatches() const { return dispatches_; }

  // Appends a dispatch, with a barrier when its buffers conflict with a dispatch since the last
  // one: one of the two writes bytes that the other reads or writes. Throws std::logic_error when
  // no file of metal/ has the kernel, or its constants are not those of the dispatch.
  void add(Dispatch dispatch);

  // Scratch memory of the operation that is being added, with undefined contents. Operations share
  // one block, as large as the one that needs most: its bindings have no memory before `finish`,
  // and dispatches of two operations that use the same bytes conflict like any others.
  Binding scratch(size_t bytes, DataType type = kFloat32);

  // Appends the dispatches of an operation.
  void add(const Operation& operation);
  // Says of the operation that is being added how much work it is. Without it that is what its
  // bytes take.
  void expect(const Work& work) { work_ = work; }
  // Has `check` look at the results of the operation when a run of the program has ended, for what
  // a kernel that cannot throw has left there. It throws as the CPU device does.
  void check_results(const Operation& operation, CheckResults check) {
    checks_.push_back({.index = added_.size(), .operation = &operation, .check = check});
  }
  void check_results() const;

  // Indices of the first dispatch of each piece, in order; empty when there is no dispatch. A piece
  // holds whole operations. There is one, unless an operation works on a chunk of a prompt.
  const std::vector<size_t>& pieces() const { return pieces_; }
  size_t scratch_bytes() const { return scratch_bytes_; }
  // Cuts into pieces and allocates the scratch memory. Nothing is added afterwards.
  void finish();

 private:
  // An operation that was added.
  struct Added {
    size_t first_dispatch;
    double microseconds;
    bool is_of_a_chunk;
  };
  struct Check {
    size_t index;                // of the operation
    const Operation* operation;  // of the list, which outlives what is made of it
    CheckResults check;
  };
  void cut_into_pieces();

  Limits limits_;
  Allocate allocate_;
  std::vector<Dispatch> dispatches_;
  Work work_;  // of the operation that is being added
  std::vector<Added> added_;
  std::vector<Check> checks_;
  std::vector<size_t> pieces_;
  size_t last_barrier_ = 0;  // index of the first dispatch after it
  size_t scratch_used_ = 0;  // bytes, by this operation
  size_t scratch_bytes_ = 0;
};

// Appends the dispatches of one operation: native/metal/operations/<operation>.cpp. Throws
// std::invalid_argument, led by the operation, for what the kernels cannot do.
using AddDispatches = void (*)(const Operation& operation, Program& program);
// scripts/operations.mjs writes this function when the addon is built.
AddDispatches dispatch_function(OperationKind kind);

// Kernels, constants, parameters and sizes of a list's dispatches, one a line, and an empty line
// between two pieces, without computing
// anything: what the tuning decides. Throws what make_program throws.
std::string describe(const CommandList& list, const Limits& limits);

// The kernels of a list, each once, without computing anything. Throws what make_program throws.
std::vector<KernelText> kernel_texts(const CommandList& list, const Limits& limits);

// Bytes of scratch memory that a list's program will have. Throws what make_program throws.
size_t scratch_of(const CommandList& list, const Limits& limits);

// The dispatches of a whole list. Throws what those functions throw.
Program make_program(const CommandList& list, const Limits& limits, Program::Allocate allocate);

}  // namespace ssm::metal
