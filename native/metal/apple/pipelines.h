// Kernels compiled for the GPU at hand.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "native/failure.h"
#include "native/kernel_text.h"
#include "native/metal/apple/apple.h"
#include "native/metal/background_threads.h"
#include "native/metal/once.h"

namespace ssm::apple {

// One library for each text, one pipeline for each text and number of threads. Any thread may call
// any function; none holds a lock while something compiles.
class Pipelines {
 public:
  explicit Pipelines(id<MTLDevice> device);

  // Compiles kernels on threads of its own and returns at once. Calls `done` on one of them when
  // the last is compiled, with the first failure if there is one; never, when this goes before
  // that.
  void prepare(std::vector<KernelText> kernels, std::function<void(std::optional<Failure>)> done);

  // The compiled kernel; waits where it is being compiled, compiles it where nobody has asked for
  // it. Throws Failed, of the operation that needs it, with the compiler's message.
  id<MTLComputePipelineState> pipeline_of(const KernelText& kernel);

  // Runs a job on one of the threads that compile. It must not throw.
  void in_background(std::function<void()> job);

 private:
  id<MTLComputePipelineState> compiled(const KernelText& kernel);
  id<MTLLibrary> compile(const std::string& kernel, const std::string& text);

  id<MTLDevice> device_;
  metal::Once<std::string, id<MTLLibrary>> libraries_;  // by their text
  metal::Once<std::pair<std::string, uint32_t>, id<MTLComputePipelineState>> pipelines_;
  metal::BackgroundThreads threads_;  // last: they use the rest
};

}  // namespace ssm::apple
