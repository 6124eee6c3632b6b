// Kernels: their text, their constants, and what is made ready for the GPU.
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "objects.h"
#include "runtime.h"

using namespace metal_stand_in;

namespace {

struct CompileOptions {
  MTLLanguageVersion language = MTLLanguageVersion(0);
  bool fast_math = true;
  MTLMathMode mode = MTLMathMode(2);
  MTLMathFloatingPointFunctions functions = MTLMathFloatingPointFunctions(0);
};

struct Library {
  std::string source;
  std::string suffix;  // of its kernel's name in the rig, where the text was compiled
};

struct PipelineDescriptor {
  id function = nil;
  NSUInteger max_threads = 0;
  bool is_promised_whole = false;
};

// The value of `#define name value`, which is a line of the text; empty without one.
std::string definition(const std::string &text, const std::string &name) {
  const std::string line = "#define " + name + " ";
  size_t at = text.compare(0, line.size(), line) == 0 ? 0 : text.find("\n" + line);
  if (at == std::string::npos) return "";
  if (at > 0) at += 1;
  return text.substr(at + line.size(), text.find('\n', at) - at - line.size());
}

// SSM_STAND_IN_TEXTS names a folder: a text itself is compiled, once, into a library there.
// Otherwise its kernel is the rig's own, in which constants are variables. Returns what a kernel's
// name ends with then. Throws what the compiler says.
std::string compile_text(const std::string &text) {
  const char *folder = std::getenv("SSM_STAND_IN_TEXTS");
  if (folder == nullptr || *folder == '\0') return "";
  static std::atomic<unsigned> count{0};
  const std::string file = std::string(folder) + "/text_" + std::to_string(getpid()) + "_" +
                           std::to_string(count++) + ".txt";
  std::ofstream(file) << text;
  const std::string command =
      "node '" SSM_RIG_FOLDER "/compile-text.mjs' '" + file + "' '" + folder + "' 2>&1";
  std::FILE *const pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("cannot start node");
  std::string output;
  std::array<char, 4096> part;
  while (const size_t bytes = std::fread(part.data(), 1, part.size(), pipe)) {
    output.append(part.data(), bytes);
  }
  const int status = pclose(pipe);
  std::remove(file.c_str());
  if (status != 0) throw std::runtime_error(output);
  const std::string library = output.substr(0, output.find('\n'));
  software_metal::load_kernels(library);
  controls().texts_compiled += 1;
  const size_t name = library.rfind('/') + 1;
  return "@" + library.substr(name, library.rfind('.') - name);
}

}  // namespace

@implementation MTLCompileOptions
+ (instancetype)alloc {
  return with_state<CompileOptions>([super alloc]);
}
- (MTLLanguageVersion)languageVersion {
  return state<CompileOptions>(self).language;
}
- (void)setLanguageVersion:(MTLLanguageVersion)version {
  state<CompileOptions>(self).language = version;
}
- (BOOL)fastMathEnabled {
  return state<CompileOptions>(self).fast_math;
}
- (void)setFastMathEnabled:(BOOL)enabled {
  state<CompileOptions>(self).fast_math = enabled;
}
- (MTLMathMode)mathMode {
  return state<CompileOptions>(self).mode;
}
- (void)setMathMode:(MTLMathMode)mode {
  state<CompileOptions>(self).mode = mode;
}
- (MTLMathFloatingPointFunctions)mathFloatingPointFunctions {
  return state<CompileOptions>(self).functions;
}
- (void)setMathFloatingPointFunctions:(MTLMathFloatingPointFunctions)functions {
  state<CompileOptions>(self).functions = functions;
}
@end

@implementation MTLComputePipelineDescriptor
+ (instancetype)alloc {
  return with_state<PipelineDescriptor>([super alloc]);
}
- (id<MTLFunction>)computeFunction {
  return state<PipelineDescriptor>(self).function;
}
- (void)setComputeFunction:(id<MTLFunction>)function {
  id before = state<PipelineDescriptor>(self).function;
  state<PipelineDescriptor>(self).function = objc_retain(function);
  objc_release(before);
}
- (NSUInteger)maxTotalThreadsPerThreadgroup {
  return state<PipelineDescriptor>(self).max_threads;
}
- (void)setMaxTotalThreadsPerThreadgroup:(NSUInteger)threads {
  state<PipelineDescriptor>(self).max_threads = threads;
}
- (BOOL)threadGroupSizeIsMultipleOfThreadExecutionWidth {
  return state<PipelineDescriptor>(self).is_promised_whole;
}
- (void)setThreadGroupSizeIsMultipleOfThreadExecutionWidth:(BOOL)promised {
  state<PipelineDescriptor>(self).is_promised_whole = promised;
}
- (void)dealloc {
  objc_release(state<PipelineDescriptor>(self).function);
  [super dealloc];
}
@end

@interface StandInFunction : NSObject <MTLFunction>
@end
@implementation StandInFunction
@end

@interface StandInPipeline : NSObject <MTLComputePipelineState>
@end
@implementation StandInPipeline
- (NSUInteger)maxTotalThreadsPerThreadgroup {
  return state<Kernel>(self).max_threads;
}
- (NSUInteger)threadExecutionWidth {
  return software_metal::kLanes;
}
- (NSUInteger)staticThreadgroupMemoryLength {
  return 0;
}
- (void)dealloc {
  check_unused(self, "a pipeline");
  [super dealloc];
}
@end

// The kernel of a text (native/metal/kernel_source.h): as the rig has it, with the constants of the
// text.
@interface StandInLibrary : NSObject <MTLLibrary>
@end
@implementation StandInLibrary
- (id<MTLFunction>)newFunctionWithName:(NSString *)name {
  const std::string kernel = name.UTF8String;
  const std::string &source = state<Library>(self).source;
  const auto *info = software_metal::find_kernel(kernel + state<Library>(self).suffix);
  if (info == nullptr || definition(source, "SSM_KERNEL") != kernel) return nil;
  Kernel result{info, {}};
  for (unsigned i = 0; i < info->constant_count; ++i) {
    const std::string constant = info->constants[i].name;
    const std::string value = definition(source, "SSM_VALUE_" + constant);
    if (value.empty()) misuse("%s: the text has no %s", kernel.c_str(), constant.c_str());
    result.constants.push_back({constant, static_cast<uint32_t>(std::stoul(value))});
  }
  return with_state<Kernel>([StandInFunction alloc], result);
}
@end

namespace metal_stand_in {

id make_library(NSString *source, MTLCompileOptions *options, NSError **error) {
  const auto &given = state<CompileOptions>(options);
  if (must_fail(controls().fail_libraries)) {
    give(error, {kLibraryErrors, kCompileFailure,
                 "program_source:1:1: error: expected unqualified-id (injected)"});
    return nil;
  }
  if (given.language < MTLLanguageVersion3_1) {
    give(error, {kLibraryErrors, kCompileFailure,
                 "program_source:1:1: error: unknown type name 'bfloat'"});
    return nil;
  }
  if (given.mode != MTLMathModeSafe || given.functions != MTLMathFloatingPointFunctionsPrecise) {
    misuse("kernels are compiled with mathematics that is not safe and precise");
  }
  Library library{source.UTF8String, ""};
  try {
    library.suffix = compile_text(library.source);
  } catch (const std::exception &problem) {
    give(error, {kLibraryErrors, kCompileFailure, problem.what()});
    return nil;
  }
  controls().libraries_made += 1;
  return with_state<Library>([StandInLibrary alloc], library);
}

id make_pipeline(MTLComputePipelineDescriptor *descriptor, NSError **error) {
  const auto &given = state<PipelineDescriptor>(descriptor);
  if (given.function == nil) misuse("a pipeline needs a compute function");
  if (must_fail(controls().fail_pipelines)) {
    give(error, {"CompilerError", 2, "Compiler encountered an internal error (injected)"});
    return nil;
  }
  // As on a GPU, a kernel with many registers allows few threads unless more were asked for.
  const NSUInteger asked = given.max_threads == 0 ? 32 : given.max_threads;
  if (asked > controls().max_threads) {
    give(error, {"CompilerError", 2, "Compute function exceeds available registers"});
    return nil;
  }
  controls().pipelines_made += 1;
  Kernel kernel = state<Kernel>(given.function);
  kernel.max_threads = asked;
  kernel.is_promised_whole = given.is_promised_whole;
  return with_state<Kernel>([StandInPipeline alloc], kernel);
}

}  // namespace metal_stand_in
