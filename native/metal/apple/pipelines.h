// Kernels compiled for the GPU at hand.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "apple.h"
#include "kernel_source.h"
#include "program.h"

namespace ssm::apple {

// Any thread may call any function.
class Pipelines {
 public:
  explicit Pipelines(id<MTLDevice> device) : device_(device) {}

  // The compiled kernel of a dispatch. Takes long when it is the first of its kernel and constants.
  // Throws std::runtime_error with the compiler's message.
  id<MTLComputePipelineState> pipeline_of(const metal::Dispatch& dispatch);

 private:
  // Both run under the mutex.
  id<MTLComputePipelineState> compile(const std::string& text, const metal::Dispatch& dispatch);
  id<MTLLibrary> library_of(const std::string& text, const metal::Dispatch& dispatch);

  // A text (metal/kernel_source.h) and the threads of a threadgroup.
  using Key = std::pair<std::string, uint32_t>;

  id<MTLDevice> device_;
  std::mutex mutex_;
  std::map<std::string, id<MTLLibrary>> libraries_;  // by their text
  std::map<Key, id<MTLComputePipelineState>> pipelines_;
};

}  // namespace ssm::apple
