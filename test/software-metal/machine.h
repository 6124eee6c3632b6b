// What the rig holds while it runs a dispatch: shared by runtime.cpp, which binds the arguments,
// and scheduler.cpp, which gives threads their turns.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "access_checker.h"
#include "kernel_context.h"
#include "runtime.h"

namespace software_metal {

constexpr uint32_t kMaxThreads = 1024;  // of a threadgroup
constexpr size_t kMaxProblems = 8;      // reported for one dispatch

// Everything that one dispatch needs. The rig keeps a single one: see execute().
struct Machine {
  std::shared_ptr<ssm::Memory> threadgroup_memory;
  std::shared_ptr<ssm::Memory> params_page;
  const KernelInfo* kernel = nullptr;
  Arguments arguments{};
  std::vector<Region> regions;
  std::set<std::string> problem_keys;
  std::vector<std::string> problems;
};

Machine& machine();

struct MemoryRange {
  const std::byte *begin, *end;

  bool has(const std::byte* address) const { return address >= begin && address < end; }
};

// Stacks of threads, and what the threads of a threadgroup share.
MemoryRange fiber_memory();

// Runs the threadgroups of the dispatch that is bound. What was wrong is in Machine::problems.
void run_threadgroups(const ssm::metal::Dispatch& dispatch, const Schedule& schedule);

}  // namespace software_metal
