// Runs kernels on the CPU as a GPU would: every thread of a threadgroup is a fiber, barriers are
// true barriers, simdgroups have 32 lanes. What a GPU would leave undefined is an error here.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "native/metal/program.h"

namespace software_metal {

// In which order threads, simdgroups and threadgroups take their turns. A right kernel gives the
// same bits in every order.
struct Schedule {
  enum Order { kForward, kReverse, kRandom };
  Order order = kForward;
  uint32_t seed = 0;  // of kRandom
};

// "forward", "reverse" or the seed of a random order. Throws std::invalid_argument.
Schedule parse_schedule(const std::string& text);

// From the first byte touched to behind the last, counted from the argument's beginning.
struct Range {
  uint64_t begin = UINT64_MAX, end = 0;

  void add(uint64_t first, uint64_t bytes) {
    begin = std::min(begin, first);
    end = std::max(end, first + bytes);
  }
};

// Bytes of one argument that a dispatch touched; counted by the checked build only.
struct Traffic {
  uint32_t index;
  bool is_threadgroup;  // threadgroup memory; else a buffer
  uint64_t read = 0, distinct_read = 0;
  uint64_t written = 0, distinct_written = 0;
  Range read_range{}, written_range{};
};

// Runs one dispatch to its end. One at a time: concurrent calls wait. Throws std::runtime_error
// with everything that was wrong, led by the kernel.
std::vector<Traffic> execute(const ssm::metal::Dispatch& dispatch, const Schedule& schedule);

struct KernelInfo;
// What a kernel says of itself (kernel_context.h); null when there is none of this name.
const KernelInfo* find_kernel(const std::string& name);

// Holds a dispatch against its kernel's signature without running it; returns the signature. Throws
// std::runtime_error, led by the kernel.
const KernelInfo& check_dispatch(const ssm::metal::Dispatch& dispatch);

// Of a kernel by its name. Throws std::runtime_error.
const KernelInfo& signature(const std::string& kernel);

// Loads a module of kernels; those whose names are known already replace the earlier ones.
void load_kernels(const std::string& path);

// Whether kernels were compiled with the checks of access_checker.h.
bool is_checked_build();

}  // namespace software_metal
