// Operations recorded once and run many times, in order. Nothing can be added once it has run or
// was prepared.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "operation.h"

namespace ssm {

// What a device makes of a list at its first run.
struct CompiledList {
  virtual ~CompiledList() = default;
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

  // JavaScript thread only: marks every memory of the list as in use by a run, or no longer so.
  void mark_submitted();
  void mark_finished();

  // Kept as long as the list. Touched by one thread of the device that runs the list, and by no
  // other device: a list belongs to one.
  mutable std::unique_ptr<CompiledList> compiled;

 private:
  struct Use {
    std::shared_ptr<Memory> memory;
    bool written;
  };
  void note_use(const std::shared_ptr<Memory>& memory, bool written);

  std::vector<Operation> operations_;
  bool sealed_ = false;    // a device may be reading operations_
  std::vector<Use> uses_;  // each memory once
};

}  // namespace ssm
