// Uses Metal's API with one mistake, to see that the stand-in refuses it: misuse <case>
// "none" makes no mistake and prints "ok". Without a case, prints the cases.
#import <Metal/Metal.h>

#include <sys/mman.h>

#include <condition_variable>
#include <cstdio>
#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "add.h"
#include "kernel_source.h"

namespace {

constexpr size_t kPage = 4096;

std::byte *pages(size_t count) {
  return static_cast<std::byte *>(
      mmap(nullptr, count * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

// out = a + b, on three buffers of a page.
struct Use {
  id<MTLDevice> device = MTLCreateSystemDefaultDevice();
  id<MTLCommandQueue> queue = [device newCommandQueue];
  id<MTLComputePipelineState> add = pipeline("add_float32"),
                              norm = pipeline("rms_norm_float32_float32");
  id<MTLBuffer> buffers[4] = {buffer(pages(1), kPage), buffer(pages(1), kPage),
                              buffer(pages(1), kPage), buffer(pages(1), kPage)};
  id<MTLCommandBuffer> commands = [queue commandBuffer];
  id<MTLComputeCommandEncoder> encoder =
      [commands computeCommandEncoderWithDispatchType:MTLDispatchTypeConcurrent];

  id<MTLBuffer> buffer(std::byte *begin, size_t length) {
    return [device newBufferWithBytesNoCopy:begin
                                     length:length
                                    options:MTLResourceStorageModeShared
                                deallocator:^(void *, NSUInteger) {
                                  munmap(begin, length);
                                }];
  }

  id<MTLComputePipelineState> pipeline(const char *kernel) {
    MTLCompileOptions *options = [MTLCompileOptions new];
    options.languageVersion = MTLLanguageVersion3_1;
    if (@available(macOS 15.0, *)) {
      options.mathMode = MTLMathModeSafe;
      options.mathFloatingPointFunctions = MTLMathFloatingPointFunctionsPrecise;
    }
    const char *text = ssm::metal::source_of(kernel).text;
    NSError *error = nil;
    id<MTLLibrary> library = [device newLibraryWithSource:[NSString stringWithUTF8String:text]
                                                  options:options
                                                    error:&error];
    id<MTLFunction> function = [library newFunctionWithName:[NSString stringWithUTF8String:kernel]
                                             constantValues:[MTLFunctionConstantValues new]
                                                      error:&error];
    MTLComputePipelineDescriptor *descriptor = [MTLComputePipelineDescriptor new];
    descriptor.computeFunction = function;
    descriptor.maxTotalThreadsPerThreadgroup = 1024;
    return [device newComputePipelineStateWithDescriptor:descriptor
                                                 options:MTLPipelineOptionNone
                                              reflection:nil
                                                   error:&error];
  }

  void bind(int a, int b, int out) {
    [encoder setComputePipelineState:add];
    [encoder setBuffer:buffers[a] offset:0 atIndex:0];
    [encoder setBuffer:buffers[b] offset:0 atIndex:1];
    [encoder setBuffer:buffers[out] offset:0 atIndex:2];
    const AddParams params{64};
    [encoder setBytes:&params length:sizeof(params) atIndex:3];
  }

  void dispatch(NSUInteger threads = 32) {
    [encoder dispatchThreadgroups:MTLSizeMake(1, 1, 1)
            threadsPerThreadgroup:MTLSizeMake(threads, 1, 1)];
  }

  void barrier() { [encoder memoryBarrierWithScope:MTLBarrierScopeBuffers]; }

  // Commits and waits.
  void finish() {
    struct Done {
      std::mutex mutex;
      std::condition_variable wake;
      bool is_done = false;
      std::string error;
    };
    const auto done = std::make_shared<Done>();
    [commands addCompletedHandler:^(id<MTLCommandBuffer> ended) {
      const std::lock_guard lock(done->mutex);
      done->is_done = true;
      if (ended.error != nil) done->error = ended.error.localizedDescription.UTF8String;
      done->wake.notify_all();
    }];
    [commands commit];
    std::unique_lock lock(done->mutex);
    done->wake.wait(lock, [&] { return done->is_done; });
    std::printf("%s\n", done->error.empty() ? "ok" : done->error.c_str());
  }
};

// Each makes its mistake; what follows would be right.
const std::map<std::string, std::function<void(Use &)>> kCases = {
    {"none",
     [](Use &use) {
       use.bind(0, 1, 2);
       use.dispatch();
       use.bind(0, 1, 3);  // beside the first
       use.dispatch();
       use.barrier();
       use.bind(2, 3, 0);
       use.dispatch();
       [use.encoder endEncoding];
     }},
    {"missing barrier, read after write",
     [](Use &use) {
       use.bind(0, 1, 2);
       use.dispatch();
       use.bind(2, 1, 3);
       use.dispatch();
       [use.encoder endEncoding];
     }},
    {"missing barrier, write after read",
     [](Use &use) {
       use.bind(0, 1, 2);
       use.dispatch();
       use.bind(1, 1, 0);
       use.dispatch();
       [use.encoder endEncoding];
     }},
    {"missing barrier, write after write",
     [](Use &use) {
       use.bind(0, 0, 2);
       use.dispatch();
       use.bind(1, 1, 2);
       use.dispatch();
       [use.encoder endEncoding];
     }},
    {"missing endEncoding", [](Use &use) { use.bind(0, 1, 2); }},
    {"encoder released before endEncoding",
     [](Use &use) {
       [use.encoder endEncoding];
       @autoreleasepool {
         id<MTLCommandBuffer> other = [use.queue commandBuffer];
         (void)[other computeCommandEncoderWithDispatchType:MTLDispatchTypeConcurrent];
       }
     }},
    {"endEncoding twice",
     [](Use &use) {
       [use.encoder endEncoding];
       [use.encoder endEncoding];
     }},
    {"encoding after endEncoding",
     [](Use &use) {
       [use.encoder endEncoding];
       use.bind(0, 1, 2);
     }},
    {"two encoders at once",
     [](Use &use) {
       (void)[use.commands computeCommandEncoderWithDispatchType:MTLDispatchTypeConcurrent];
     }},
    {"commit twice",
     [](Use &use) {
       [use.encoder endEncoding];
       [use.commands commit];
       [use.commands commit];
     }},
    {"handler after commit",
     [](Use &use) {
       [use.encoder endEncoding];
       [use.commands commit];
       [use.commands addCompletedHandler:^(id<MTLCommandBuffer>){
       }];
     }},
    {"encoder after commit",
     [](Use &use) {
       [use.encoder endEncoding];
       [use.commands commit];
       (void)[use.commands computeCommandEncoderWithDispatchType:MTLDispatchTypeConcurrent];
     }},
    {"pointer that is not a page", [](Use &use) { use.buffer(pages(2) + 64, kPage); }},
    {"length that is not pages", [](Use &use) { use.buffer(pages(1), 100); }},
    {"parameters above 4 KiB",
     [](Use &use) {
       static const std::byte params[4097] = {};
       [use.encoder setBytes:params length:sizeof(params) atIndex:3];
     }},
    {"too many threads",
     [](Use &use) {
       use.bind(0, 1, 2);
       use.dispatch(1056);
     }},
    {"threadgroup memory not of 16",
     [](Use &use) { [use.encoder setThreadgroupMemoryLength:100 atIndex:0]; }},
    {"too much threadgroup memory",
     [](Use &use) {
       use.bind(0, 1, 2);
       [use.encoder setThreadgroupMemoryLength:(33 << 10) atIndex:0];
       use.dispatch();
     }},
    {"threadgroup memory without length",
     [](Use &use) {
       use.bind(0, 1, 2);
       [use.encoder setComputePipelineState:use.norm];
       use.dispatch();
     }},
    {"offset beyond the buffer",
     [](Use &use) { [use.encoder setBuffer:use.buffers[0] offset:kPage atIndex:0]; }},
    {"index beyond 30",
     [](Use &use) { [use.encoder setBuffer:use.buffers[0] offset:0 atIndex:31]; }},
    {"dispatch without pipeline", [](Use &use) { use.dispatch(); }},
    {"buffer that is not bound",
     [](Use &use) {
       use.bind(0, 1, 2);
       [use.encoder setBuffer:nil offset:0 atIndex:1];
       use.dispatch();
     }},
    {"buffer of an earlier dispatch",
     [](Use &use) {
       use.bind(0, 1, 2);
       use.dispatch();
       [use.encoder setComputePipelineState:use.add];
       use.dispatch();
     }},
};

}  // namespace

int main(int count, char **arguments) {
  if (count == 1) {
    for (const auto &[name, run] : kCases) std::printf("%s\n", name.c_str());
    return 0;
  }
  const auto found = kCases.find(arguments[1]);
  if (found == kCases.end()) return 2;
  @autoreleasepool {
    Use use;
    found->second(use);
    use.finish();
  }
  return 0;
}
