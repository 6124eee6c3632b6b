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
  std::string key = dispatch.kernel;
  for (const auto& [index, value] : dispatch.constants) {
    key += " " + std::to_string(index) + "=" + std::to_string(value);
  }
  key += " " + std::to_string(dispatch.threads_of_group());
  const std::lock_guard lock(mutex_);
  const auto known = pipelines_.find(key);
  if (known != pipelines_.end()) return known->second;
  const id<MTLComputePipelineState> pipeline = compile(dispatch);
  pipelines_.emplace(std::move(key), pipeline);
  return pipeline;
}

id<MTLComputePipelineState> Pipelines::compile(const Dispatch& dispatch) {
  const metal::KernelSource& source = metal::source_of(dispatch.kernel);
  MTLFunctionConstantValues* const constants = [MTLFunctionConstantValues new];
  for (const auto& [index, value] : dispatch.constants) {
    const bool truth = value != 0;
    if (metal::constant_is_bool(source, index)) {
      [constants setConstantValue:&truth type:MTLDataTypeBool atIndex:index];
    } else {
      [constants setConstantValue:&value type:MTLDataTypeUInt atIndex:index];
    }
  }
  NSError* error = nil;
  const id<MTLFunction> function =
      [library_of(source) newFunctionWithName:string_of(dispatch.kernel)
                               constantValues:constants
                                        error:&error];
  if (function == nil) fail(dispatch, "is not in the compiled " + std::string(source.file), error);
  // Told how many threads a threadgroup has, the compiler gives each no more registers than allow
  // so many; otherwise a kernel with many registers may come out for fewer threads.
  MTLComputePipelineDescriptor* const descriptor = [MTLComputePipelineDescriptor new];
  descriptor.computeFunction = function;
  descriptor.maxTotalThreadsPerThreadgroup = dispatch.threads_of_group();
  const id<MTLComputePipelineState> pipeline =
      [device_ newComputePipelineStateWithDescriptor:descriptor
                                             options:MTLPipelineOptionNone
                                          reflection:nil
                                               error:&error];
  if (pipeline == nil) fail(dispatch, "cannot be made ready for this GPU", error);
  return pipeline;
}

id<MTLLibrary> Pipelines::library_of(const metal::KernelSource& source) {
  const auto known = libraries_.find(&source);
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
  const id<MTLLibrary> library = [device_ newLibraryWithSource:string_of(source.text)
                                                       options:options
                                                         error:&error];
  if (library == nil) {
    throw std::runtime_error("[metal] cannot compile metal/" + std::string(source.file) + ": " +
                             text_of(error));
  }
  libraries_.emplace(&source, library);
  return library;
}

}  // namespace ssm::apple
