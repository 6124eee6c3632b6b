#include "kernel_source.h"

#include <stdexcept>

namespace ssm::metal {

namespace {

bool is_kernel_of(const std::string& kernel, const std::string& function) {
  return kernel.compare(0, function.size(), function) == 0 &&
         (kernel.size() == function.size() || kernel[function.size()] == '_');
}

}  // namespace

const KernelSource& source_of(const std::string& kernel) {
  const KernelSource* found = nullptr;
  size_t longest = 0;
  for (const KernelSource& source : kernel_sources()) {
    for (const std::string& function : source.functions) {
      if (function.size() <= longest || !is_kernel_of(kernel, function)) continue;
      found = &source;
      longest = function.size();
    }
  }
  if (found == nullptr) throw std::runtime_error("no file of metal/ has a kernel named " + kernel);
  return *found;
}

bool constant_is_bool(const KernelSource& source, uint32_t index) {
  for (const FunctionConstant& constant : source.constants) {
    if (constant.index == index) return constant.is_bool;
  }
  throw std::runtime_error("metal/" + std::string(source.file) + " has no function constant " +
                           std::to_string(index));
}

}  // namespace ssm::metal
