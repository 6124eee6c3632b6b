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

#include "metal/add.h"
#include "metal/rms_norm.h"
#include "metal_stand_in.h"
#include "native/metal/kernel_source.h"
#include "system.h"

namespace {

using metal_stand_in::kPage;

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

  id<MTLComputePipelineState> pipeline(const char *kernel, bool whole_simdgroups = false) {
    MTLCompileOptions *options = [MTLCompileOptions new];
    options.languageVersion = MTLLanguageVersion3_1;
    if (@available(macOS 15.0, *)) {
      options.mathMode = MTLMathModeSafe;
      options.mathFloatingPointFunctions = MTLMathFloatingPointFunctionsPrecise;
    }
    const std::string text = ssm::metal::kernel_text(kernel, {});
    NSError *error = nil;
    id<MTLLibrary> library =
        [device newLibraryWithSource:[NSString stringWithUTF8String:text.c_str()]
                             options:options
                               error:&error];
    id<MTLFunction> function = [library newFunctionWithName:[NSString stringWithUTF8String:kernel]];
    MTLComputePipelineDescriptor *descriptor = [MTLComputePipelineDescriptor new];
    descriptor.computeFunction = function;
    descriptor.maxTotalThreadsPerThreadgroup = 1024;
    descriptor.threadGroupSizeIsMultipleOfThreadExecutionWidth = whole_simdgroups;
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

  // From now on another command buffer is encoded.
  void begin(id<MTLCommandBuffer> next) {
    commands = next;
    encoder = [next computeCommandEncoderWithDispatchType:MTLDispatchTypeConcurrent];
  }

  // Commits what is encoded; nobody waits.
  void end() {
    [encoder endEncoding];
    [commands commit];
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
    {"pointer and length of smaller pages than a Mac's",
     [](Use &use) { use.buffer(pages(2) + 4096, 4096); }},
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
       const RmsNormParams params{};
       [use.encoder setBytes:&params length:sizeof(params) atIndex:3];
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
    {"memory unmapped while a buffer has it",
     [](Use &use) {
       std::byte *const page = pages(1);
       const id<MTLBuffer> buffer =
           [use.device newBufferWithBytesNoCopy:page
                                         length:kPage
                                        options:MTLResourceStorageModeShared
                                    deallocator:nil];
       munmap(page, kPage);
       (void)buffer;
     }},
    {"offset that is not aligned",
     [](Use &use) {
       use.bind(0, 1, 2);
       [use.encoder setBuffer:use.buffers[0] offset:2 atIndex:0];
       use.dispatch();
     }},
    {"buffer that the kernel lacks",
     [](Use &use) {
       use.bind(0, 1, 2);
       [use.encoder setBuffer:use.buffers[0] offset:0 atIndex:5];
       use.dispatch();
     }},
    {"bytes that the kernel lacks",
     [](Use &use) {
       use.bind(0, 1, 2);
       const int bytes = 0;
       [use.encoder setBytes:&bytes length:sizeof(bytes) atIndex:4];
       use.dispatch();
     }},
    {"threadgroup memory that the kernel lacks",
     [](Use &use) {
       use.bind(0, 1, 2);
       [use.encoder setThreadgroupMemoryLength:64 atIndex:0];
       use.dispatch();
     }},
    {"threadgroup memory of no bytes",
     [](Use &use) { [use.encoder setThreadgroupMemoryLength:0 atIndex:0]; }},
    {"parameters of another size",
     [](Use &use) {
       use.bind(0, 1, 2);
       const AddParams params[2] = {{64}, {64}};
       [use.encoder setBytes:params length:sizeof(params) atIndex:3];
       use.dispatch();
     }},
    {"bytes of an encoder for what is written",
     [](Use &use) {
       use.bind(0, 1, 2);
       const float out[64] = {};
       [use.encoder setBuffer:nil offset:0 atIndex:2];
       [use.encoder setBytes:out length:sizeof(out) atIndex:2];
       use.dispatch();
     }},
    {"argument given twice",
     [](Use &use) {
       use.bind(0, 1, 2);
       [use.encoder setBuffer:use.buffers[3] offset:0 atIndex:3];
       use.dispatch();
     }},
    {"grid without threadgroups",
     [](Use &use) {
       use.bind(0, 1, 2);
       [use.encoder dispatchThreadgroups:MTLSizeMake(1, 0, 1)
                   threadsPerThreadgroup:MTLSizeMake(32, 1, 1)];
     }},
    {"part of a simdgroup though whole ones were promised",
     [](Use &use) {
       use.bind(0, 1, 2);
       [use.encoder setComputePipelineState:use.pipeline("add_float32", true)];
       use.dispatch(40);
     }},
    {"barrier that orders nothing",
     [](Use &use) { [use.encoder memoryBarrierWithScope:MTLBarrierScope(0)]; }},
    {"buffer released while it is used",
     [](Use &use) {
       metal_stand_in::controls().least_gpu_time = 2000;
       [use.encoder endEncoding];
       use.begin([use.queue commandBufferWithUnretainedReferences]);
       use.bind(0, 1, 2);
       use.dispatch();
       use.end();
       use.buffers[2] = nil;
     }},
    {"pipeline released while it is used",
     [](Use &use) {
       metal_stand_in::controls().least_gpu_time = 2000;
       [use.encoder endEncoding];
       @autoreleasepool {
         use.add = use.pipeline("add_float32");
       }
       use.begin([use.queue commandBufferWithUnretainedReferences]);
       use.bind(0, 1, 2);
       use.dispatch();
       use.end();
       use.add = nil;
     }},
    {"two buffers over the same pages",
     [](Use &use) {
       metal_stand_in::controls().least_gpu_time = 2000;
       std::byte *const both = pages(2);
       use.buffers[2] = use.buffer(both, kPage);
       use.buffers[3] = use.buffer(both, 2 * kPage);
       use.bind(0, 0, 2);
       use.dispatch();
       use.end();
       use.begin([use.queue commandBuffer]);
       use.bind(3, 3, 1);  // reads by another buffer what the first one writes
       use.dispatch();
       use.end();
     }},
    {"buffer that is not resident",
     [](Use &use) {
       if (@available(macOS 15.0, *)) {
         const id<MTLResidencySet> set =
             [use.device newResidencySetWithDescriptor:[MTLResidencySetDescriptor new] error:nil];
         [use.queue addResidencySet:set];
         for (const id<MTLBuffer> &buffer : use.buffers) [set addAllocation:buffer];
         use.bind(0, 1, 2);  // the set was not committed
         use.dispatch();
         use.end();
       }
     }},
    {"residency requested before commit",
     [](Use &use) {
       if (@available(macOS 15.0, *)) {
         const id<MTLResidencySet> set =
             [use.device newResidencySetWithDescriptor:[MTLResidencySetDescriptor new] error:nil];
         [set addAllocation:use.buffers[0]];
         [set requestResidency];
       }
     }},
    {"removal of what is not in the set",
     [](Use &use) {
       if (@available(macOS 15.0, *)) {
         const id<MTLResidencySet> set =
             [use.device newResidencySetWithDescriptor:[MTLResidencySetDescriptor new] error:nil];
         [set removeAllocation:use.buffers[0]];
       }
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
