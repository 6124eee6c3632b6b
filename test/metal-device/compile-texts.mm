// Compiles texts of kernels with Metal's own compiler, with the options of the device. Any Mac can,
// also one whose GPU cannot run them (scripts/compile-metal.mjs).
//   compile-texts file ...
// A line for each text that is refused; exit code 1 when there is one.
#import <Foundation/Foundation.h>
#import <Metal/Metal.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#if __MAC_OS_X_VERSION_MAX_ALLOWED >= 150000
#define SSM_MACOS_15_SDK 1
#endif

namespace {

// As in native/metal/apple/pipelines.mm.
MTLCompileOptions* compile_options() {
  MTLCompileOptions* const options = [MTLCompileOptions new];
  options.languageVersion = MTLLanguageVersion3_1;
  bool is_safe = false;
#ifdef SSM_MACOS_15_SDK
  if (@available(macOS 15.0, *)) {
    options.mathMode = MTLMathModeSafe;
    options.mathFloatingPointFunctions = MTLMathFloatingPointFunctionsPrecise;
    is_safe = true;
  }
#endif
  if (!is_safe) options.fastMathEnabled = NO;
  return options;
}

NSString* string_of(const std::string& text) {
  return [NSString stringWithUTF8String:text.c_str()];
}

}  // namespace

int main(int count, char** files) {
  @autoreleasepool {
    const id<MTLDevice> device = MTLCreateSystemDefaultDevice();
    if (device == nil) {
      std::fprintf(stderr, "this Mac has no device of Metal\n");
      return 1;
    }
    int failed = 0;
    for (int i = 1; i < count; ++i) {
      std::ifstream file(files[i]);
      const std::string text((std::istreambuf_iterator<char>(file)), {});
      NSError* error = nil;
      const id<MTLLibrary> library = text.empty() ? nil
                                                  : [device newLibraryWithSource:string_of(text)
                                                                         options:compile_options()
                                                                           error:&error];
      if (library != nil) continue;
      failed += 1;
      std::fprintf(stderr, "%s: %s\n", files[i],
                   error == nil ? "cannot be read" : error.localizedDescription.UTF8String);
    }
    std::printf("newLibraryWithSource: %d of %d texts compile\n", count - 1 - failed, count - 1);
    return failed > 0 || count < 2 ? 1 : 0;
  }
}
