// A stand-in for Apple's Metal on Linux: enough of its API to run native/metal/metal_device.mm,
// over the rig's runtime (test/software-metal/runtime.h). It is stricter than a Mac: what Metal
// leaves undefined, or says only with validation switched on, ends the process with a message here.
#include "objects.h"

using namespace metal_stand_in;

@interface StandInDevice : NSObject <MTLDevice>
@end
@implementation StandInDevice
- (NSString *)name {
  return [NSString stringWithUTF8String:"stand-in"];
}
- (MTLSize)maxThreadsPerThreadgroup {
  return {1024, 1024, 1024};
}
- (NSUInteger)maxThreadgroupMemoryLength {
  return kThreadgroupMemory;
}
- (uint64_t)recommendedMaxWorkingSetSize {
  return controls().working_set;
}
- (NSUInteger)currentAllocatedSize {
  return controls().buffer_bytes + controls().allocated_elsewhere;
}
- (NSUInteger)maxBufferLength {
  return controls().max_buffer_length;
}
- (BOOL)supportsFamily:(MTLGPUFamily)family {
  return family > 1000 && uint64_t(family) <= controls().gpu_family;
}
- (id<MTLCommandQueue>)newCommandQueue {
  return make_queue();
}
- (id<MTLBuffer>)newBufferWithBytesNoCopy:(void *)pointer
                                   length:(NSUInteger)length
                                  options:(MTLResourceOptions)options
                              deallocator:(void (^)(void *, NSUInteger))release {
  return make_buffer(pointer, length, options, release);
}
- (id<MTLLibrary>)newLibraryWithSource:(NSString *)source
                               options:(MTLCompileOptions *)options
                                 error:(NSError **)error {
  return make_library(source, options, error);
}
- (id<MTLComputePipelineState>)
    newComputePipelineStateWithDescriptor:(MTLComputePipelineDescriptor *)descriptor
                                  options:(MTLPipelineOption)options
                               reflection:(MTLComputePipelineReflection **)reflection
                                    error:(NSError **)error {
  (void)options, (void)reflection;
  return make_pipeline(descriptor, error);
}
- (id<MTLResidencySet>)newResidencySetWithDescriptor:(MTLResidencySetDescriptor *)what
                                               error:(NSError **)error {
  (void)what, (void)error;
  return make_residency_set();
}
@end

extern "C" id<MTLDevice> MTLCreateSystemDefaultDevice() {
  return with_state<std::string>([StandInDevice alloc]);
}
