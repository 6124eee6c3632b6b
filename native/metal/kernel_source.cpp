#include "kernel_source.h"

#include <algorithm>
#include <stdexcept>

namespace ssm::metal {

const KernelSource& source_of(const std::string& kernel) {
  for (const KernelSource& source : kernel_sources()) {
    const auto& names = source.kernels;
    if (std::find(names.begin(), names.end(), kernel) != names.end()) return source;
  }
  throw std::runtime_error("no file of metal/ has a kernel named " + kernel);
}

bool constant_is_bool(const KernelSource& source, uint32_t index) {
  for (const FunctionConstant& constant : source.constants) {
    if (constant.index == index) return constant.is_bool;
  }
  throw std::runtime_error("metal/" + std::string(source.file) + " has no function constant " +
                           std::to_string(index));
}

}  // namespace ssm::metal
