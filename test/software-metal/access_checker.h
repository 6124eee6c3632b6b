// The checks of the checked build. Its kernels are compiled with clang's -fsanitize=thread, which
// calls a function before every access to memory; access_checker.cpp implements those functions
// itself instead of linking ThreadSanitizer, which knows nothing of fibers, barriers of a GPU or
// the bounds of an argument.
#pragma once

#include <string>
#include <vector>

#include "kernel_context.h"
#include "native/metal/program.h"
#include "runtime.h"

namespace software_metal {

// Memory that a dispatch may touch.
struct Region {
  std::string name;
  const std::byte* begin;
  size_t bytes;
  bool is_threadgroup;
  bool is_written;  // the kernel may write it
  uint32_t index;   // of the argument
};

bool instrumented();  // the kernels were compiled for these checks

void begin_checking(const std::vector<Region>& regions);
void begin_threadgroup(uint32_t number);  // forgets what was written to threadgroup memory
std::vector<Traffic> end_checking();      // of each argument

// runtime.cpp: reports each distinct problem once; `key` tells them apart.
bool is_new_problem(const std::string& key);
void report(const std::string& message);
std::string describe(const Thread& thread);

}  // namespace software_metal
