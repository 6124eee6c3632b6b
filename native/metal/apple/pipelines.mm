#include "pipelines.h"

#include <stdexcept>

namespace ssm::apple {

using metal::Dispatch;

namespace {

[[noreturn]] void fail(const Dispatch& dispatch, const std::string& what, NSError* error) {
  throw std::runtime_error("[metal] kernel " + dispatch.kernel + " " + what + ": " +
                           text_of(error));
}

}  // namespace

id<MTLComputePipelineState> Pipelines::pipeline_of(const Dispatch& dispatch) {
  std::string text = metal::kernel_text(dispatch.kernel, dispatch.constants);
  const Key key(std::move(text), dispatch.threads_of_group());
  const std::lock_guard lock(mutex_);
  const auto known = pipelines_.find(key);
  if (known != pipelines_.end()) return known->second;
  const id<MTLComputePipelineState> pipeline = compile(key.first, dispatch);
  pipelines_.emplace(key, pipeline);
  return pipeline;
}

id<MTLComputePipelineState> Pipelines::compile(const std::string& text, const Dispatch& dispatch) {
  const id<MTLFunction> function =
      [library_of(text, dispatch) newFunctionWithName:string_of(dispatch.kernel)];
  if (function == nil) fail(dispatch, "is not in its own compiled text", nil);
  // Told how many threads a threadgroup has, the compiler gives each no more registers than allow
  // so many; otherwise a kernel with many registers may come out for fewer threads.
  MTLComputePipelineDescriptor* const descriptor = [MTLComputePipelineDescriptor new];
  descriptor.computeFunction = function;
  descriptor.maxTotalThreadsPerThreadgroup = dispatch.threads_of_group();
  NSError* error = nil;
  const id<MTLComputePipelineState> pipeline =
      [device_ newComputePipelineStateWithDescriptor:descriptor
                                             options:MTLPipelineOptionNone
                                          reflection:nil
                                               error:&error];
  if (pipeline == nil) fail(dispatch, "cannot be made ready for this GPU", error);
  return pipeline;
}

id<MTLLibrary> Pipelines::library_of(const std::string& text, const Dispatch& dispatch) {
  const auto known = libraries_.find(text);
  if (known != libraries_.end()) return known->second;
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
  if (library == nil) fail(dispatch, "does not compile", error);
  libraries_.emplace(text, library);
  return library;
}

}  // namespace ssm::apple
