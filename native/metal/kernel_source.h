// The kernels of metal/ as text, for GPUs whose driver compiles them. scripts/embed-metal.mjs
// writes the file that defines kernel_sources().
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ssm::metal {

struct FunctionConstant {
  uint32_t index;
  bool is_bool;  // else uint
};

// One .metal file, the headers that it includes inlined.
struct KernelSource {
  const char* file;
  std::vector<std::string> functions;  // a kernel's host name is its function's, or goes on with _
  std::vector<FunctionConstant> constants;
  const char* text;
};

const std::vector<KernelSource>& kernel_sources();

// The file that has a kernel. Throws std::runtime_error when none does.
const KernelSource& source_of(const std::string& kernel);

// Whether a function constant is a bool, else it is a uint. Throws std::runtime_error when the file
// has no such constant.
bool constant_is_bool(const KernelSource& source, uint32_t index);

}  // namespace ssm::metal
