// One kernel as an Apple GPU compiles it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace ssm {

struct KernelText {
  std::string kernel;  // its host name
  std::string text;    // native/metal/kernel_source.h
  uint32_t threads;    // of a threadgroup
  size_t operation;    // of the list: the first that needs it
};

}  // namespace ssm
