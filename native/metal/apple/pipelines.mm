#include "native/metal/apple/pipelines.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>

namespace ssm::apple {

namespace {

[[noreturn]] void fail(const std::string& kernel, const std::string& what, NSError* error) {
  throw std::runtime_error("[metal] kernel " + kernel + " " + what + ": " + text_of(error));
}

// Enough to keep Metal's compiler busy, which runs in processes of its own.
size_t compile_threads() { return std::clamp(std::thread::hardware_concurrency() / 2, 1u, 4u); }

}  // namespace

Pipelines::Pipelines(id<MTLDevice> device) : device_(device), threads_(compile_threads()) {}

// These threads have no pool of their own: what is autoreleased, each result among it, would stay.
void Pipelines::in_background(std::function<void()> job) {
  threads_.push([job = std::move(job)] {
    @autoreleasepool {
      job();
    }
  });
}

void Pipelines::prepare(std::vector<KernelText> kernels,
                        std::function<void(std::optional<Failure>)> done) {
  if (kernels.empty()) {
    in_background([done = std::move(done)] { done(std::nullopt); });
    return;
  }
  struct Progress {
    std::atomic<size_t> left;
    std::mutex mutex;
    std::optional<Failure> failure;  // the first
    std::function<void(std::optional<Failure>)> done;
  };
  const auto progress = std::make_shared<Progress>();
  progress->left = kernels.size();
  progress->done = std::move(done);
  for (KernelText& kernel : kernels) {
    in_background([this, progress, kernel = std::move(kernel)] {
      try {
        [[maybe_unused]] const id<MTLComputePipelineState> pipeline = pipeline_of(kernel);
      } catch (const std::exception&) {
        const std::lock_guard lock(progress->mutex);
        if (!progress->failure) progress->failure = caught_failure();
      }
      if (--progress->left == 0) progress->done(progress->failure);
    });
  }
}

id<MTLComputePipelineState> Pipelines::pipeline_of(const KernelText& kernel) {
  return on_behalf_of(kernel.operation, [&] { return compiled(kernel); });
}

id<MTLComputePipelineState> Pipelines::compiled(const KernelText& kernel) {
  return pipelines_.get({kernel.text, kernel.threads}, [&](const auto& key) {
    @autoreleasepool {
      const id<MTLLibrary> library = libraries_.get(
          key.first, [&](const std::string& text) { return compile(kernel.kernel, text); });
      const id<MTLFunction> function = [library newFunctionWithName:string_of(kernel.kernel)];
      if (function == nil) fail(kernel.kernel, "is not in its own compiled text", nil);
      // Told how many threads a threadgroup has, the compiler gives each no more registers than
      // allow so many; otherwise a kernel with many registers may come out for fewer threads.
      MTLComputePipelineDescriptor* const descriptor = [MTLComputePipelineDescriptor new];
      descriptor.computeFunction = function;
      descriptor.maxTotalThreadsPerThreadgroup = kernel.threads;
      NSError* error = nil;
      const id<MTLComputePipelineState> pipeline =
          [device_ newComputePipelineStateWithDescriptor:descriptor
                                                 options:MTLPipelineOptionNone
                                              reflection:nil
                                                   error:&error];
      if (pipeline == nil) fail(kernel.kernel, "cannot be made ready for this GPU", error);
      return pipeline;
    }
  });
}

id<MTLLibrary> Pipelines::compile(const std::string& kernel, const std::string& text) {
  MTLCompileOptions* const options = [MTLCompileOptions new];
  options.languageVersion = MTLLanguageVersion3_1;  // the first one with bfloat
  // Kernels say themselves where a less exact function will do.
  bool is_safe = false;
#ifdef SSM_MACOS_15_SDK
  if (@available(macOS 15.0, *)) {
    options.mathMode = MTLMathModeSafe;
    options.mathFloatingPointFunctions = MTLMathFloatingPointFunctionsPrecise;
    is_safe = true;
  }
#endif
  if (!is_safe) options.fastMathEnabled = NO;
  NSError* error = nil;
  const id<MTLLibrary> library = [device_ newLibraryWithSource:string_of(text)
                                                       options:options
                                                         error:&error];
  if (library == nil) fail(kernel, "does not compile", error);
  return library;
}

}  // namespace ssm::apple
