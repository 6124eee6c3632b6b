// Kernels compiled for the GPU at hand.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "apple.h"
#include "kernel_source.h"
#include "program.h"

namespace ssm::apple {

// Any thread may call any function.
class Pipelines {
 public:
  explicit Pipelines(id<MTLDevice> device) : device_(device) {}

  // The compiled kernel of a dispatch. Takes long when it is the first of its file. Throws
  // std::runtime_error with the compiler's message.
  id<MTLComputePipelineState> pipeline_of(const metal::Dispatch& dispatch);

 private:
  // Both run under the mutex.
  id<MTLComputePipelineState> compile(const metal::Dispatch& dispatch);
  id<MTLLibrary> library_of(const metal::KernelSource& source);

  id<MTLDevice> device_;
  std::mutex mutex_;
  std::map<const metal::KernelSource*, id<MTLLibrary>> libraries_;
  std::map<std::string, id<MTLComputePipelineState>> pipelines_;  // by kernel and constants
};

}  // namespace ssm::apple
