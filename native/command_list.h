// Operations recorded once and run many times, in order. Nothing can be added once it has run or
// was prepared. Any number of runs of one list may be under way: what differs between them is in
// the block of each (run_block.h).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "native/operation.h"

namespace ssm {

// What a device makes of a list at its first run.
struct CompiledList {
  virtual ~CompiledList() = default;
  // Called when a run has ended. Throws Failed for bad data that its kernels, which cannot throw,
  // have marked in their results.
  virtual void check_results() const {}
};

class CommandList {
 public:
  // Checks the number of buffers, that each lies inside its memory, is aligned to its type, and is
  // not a mapped file when it is written. Throws std::invalid_argument led by the operation.
  void add(OperationKind kind, std::vector<Binding> bindings, const void* params,
           size_t param_bytes);

  const std::vector<Operation>& operations() const { return operations_; }

  // From now on nothing can be added: other threads may read it.
  void seal() { sealed_ = true; }

  // What operations bind for the inputs and outputs of a run. Made at the first call.
  const std::shared_ptr<Memory>& block();
  // Null when no operation uses it.
  const std::shared_ptr<Memory>& block() const { return block_; }
  // Bytes of a run's inputs and outputs that operations use, each from the first on.
  size_t input_bytes() const { return input_bytes_; }
  size_t output_bytes() const { return output_bytes_; }

  // Whether it uses memory that was only planned: no device can run it.
  bool is_planned() const { return planned_; }

  // JavaScript thread only, as all below: marks every memory of the list as in use by a run, or no
  // longer so.
  void mark_submitted();
  void mark_finished();
  // Whether a run reads what an earlier run left half written.
  bool reads_a_mixture() const;
  // A run has ended: what it wrote is half written, or what it wrote whole no longer is.
  void mark_written(bool is_mixture);

  // Kept as long as the list. Touched by one thread of the device that runs the list, and by no
  // other device: a list belongs to one.
  mutable std::unique_ptr<CompiledList> compiled;

 private:
  struct Use {
    std::shared_ptr<Memory> memory;
    bool written;
    bool written_whole;  // by the first operation that uses it, which does not read it
  };
  void note_use(const Operation& operation, size_t buffer);

  std::vector<Operation> operations_;
  std::shared_ptr<Memory> block_;
  size_t input_bytes_ = 0, output_bytes_ = 0;
  bool planned_ = false;
  bool sealed_ = false;    // a device may be reading operations_
  std::vector<Use> uses_;  // each memory once
};

}  // namespace ssm
