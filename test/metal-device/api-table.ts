// Every name of Apple's API that the .mm files of native/metal/ use, the value of each constant, and
// a public source that says so. Headers of our own (sdk/) stand in for Apple's in the tests, so a
// wrong value there would go unnoticed on Linux: this table is what they are held against. To use
// a new name, look it up, add it to sdk/ and here.

const metalCpp = (file: string) =>
  `https://github.com/bkaradzic/metal-cpp/blob/a63bd172ddcba73a3d87ca32032b66ad41ddb9a6/${file}.hpp`
const objc2 = (file: string) =>
  `https://docs.rs/crate/objc2-metal/0.3.2/source/src/generated/${file}.rs`
const apple = (path: string) => `https://developer.apple.com/documentation/${path}`
const dotnet = (name: string) =>
  `https://learn.microsoft.com/en-us/dotnet/api/metal.${name}?view=net-ios-26.4-10.0`

/** Constants: value and source. */
export const CONSTANTS: Record<string, { value: number; source: string }> = {
  MTLBarrierScopeBuffers: { value: 1, source: metalCpp('Metal/MTLCommandEncoder') },
  MTLCommandBufferStatusError: { value: 5, source: metalCpp('Metal/MTLCommandBuffer') },
  MTLDispatchTypeConcurrent: { value: 1, source: metalCpp('Metal/MTLCommandBuffer') },
  MTLGPUFamilyApple7: { value: 1007, source: metalCpp('Metal/MTLDevice') },
  MTLLanguageVersion3_1: { value: 196609, source: metalCpp('Metal/MTLLibrary') },
  MTLMathFloatingPointFunctionsPrecise: {
    value: 1,
    source: dotnet('mtlmathfloatingpointfunctions'),
  },
  MTLMathModeSafe: { value: 0, source: dotnet('mtlmathmode') },
  MTLPipelineOptionNone: { value: 0, source: metalCpp('Metal/MTLDevice') },
  MTLResourceStorageModeShared: { value: 0, source: metalCpp('Metal/MTLResource') },
}

/** Functions and their sources. */
export const FUNCTIONS: Record<string, string> = {
  MTLCreateSystemDefaultDevice: apple('metal/mtlcreatesystemdefaultdevice()'),
}

/** Selectors, properties as their getters and setters, and their sources. */
export const SELECTORS: Record<string, string> = {
  UTF8String: metalCpp('Foundation/NSString'),
  'addAllocation:': objc2('MTLResidencySet'),
  'addCompletedHandler:': metalCpp('Metal/MTLCommandBuffer'),
  'addResidencySet:': apple('metal/mtlcommandqueue/addresidencyset(_:)'),
  commandBuffer: metalCpp('Metal/MTLCommandQueue'),
  commit: metalCpp('Metal/MTLCommandBuffer'), // of a residency set: objc2('MTLResidencySet')
  'computeCommandEncoderWithDispatchType:': metalCpp('Metal/MTLCommandBuffer'),
  'dispatchThreadgroups:threadsPerThreadgroup:': metalCpp('Metal/MTLComputeCommandEncoder'),
  endEncoding: metalCpp('Metal/MTLCommandEncoder'),
  error: metalCpp('Metal/MTLCommandBuffer'),
  localizedDescription: metalCpp('Foundation/NSError'),
  maxBufferLength: metalCpp('Metal/MTLDevice'),
  maxThreadgroupMemoryLength: metalCpp('Metal/MTLDevice'),
  maxThreadsPerThreadgroup: metalCpp('Metal/MTLDevice'),
  maxTotalThreadsPerThreadgroup: metalCpp('Metal/MTLComputePipeline'),
  'memoryBarrierWithScope:': metalCpp('Metal/MTLComputeCommandEncoder'),
  name: metalCpp('Metal/MTLDevice'),
  new: apple('objectivec/nsobject-swift.class/new'),
  'newBufferWithBytesNoCopy:length:options:deallocator:': metalCpp('Metal/MTLDevice'),
  newCommandQueue: metalCpp('Metal/MTLDevice'),
  'newComputePipelineStateWithDescriptor:options:reflection:error:': metalCpp('Metal/MTLDevice'),
  'newFunctionWithName:': metalCpp('Metal/MTLLibrary'),
  'newLibraryWithSource:options:error:': metalCpp('Metal/MTLDevice'),
  'newResidencySetWithDescriptor:error:': objc2('MTLDevice'),
  'removeAllocation:': objc2('MTLResidencySet'),
  requestResidency: objc2('MTLResidencySet'),
  'setBuffer:offset:atIndex:': metalCpp('Metal/MTLComputeCommandEncoder'),
  'setBytes:length:atIndex:': metalCpp('Metal/MTLComputeCommandEncoder'),
  'setComputeFunction:': metalCpp('Metal/MTLComputePipeline'),
  'setComputePipelineState:': metalCpp('Metal/MTLComputeCommandEncoder'),
  'setFastMathEnabled:': metalCpp('Metal/MTLLibrary'),
  'setLanguageVersion:': metalCpp('Metal/MTLLibrary'),
  'setMaxTotalThreadsPerThreadgroup:': metalCpp('Metal/MTLComputePipeline'),
  'setMathFloatingPointFunctions:': apple('metal/mtlcompileoptions/mathfloatingpointfunctions'),
  'setMathMode:': dotnet('mtlcompileoptions.mathmode'),
  'setThreadgroupMemoryLength:atIndex:': metalCpp('Metal/MTLComputeCommandEncoder'),
  staticThreadgroupMemoryLength: metalCpp('Metal/MTLComputePipeline'),
  status: metalCpp('Metal/MTLCommandBuffer'),
  'stringWithUTF8String:': apple('foundation/nsstring/init(utf8string:)-321f6'),
  'supportsFamily:': metalCpp('Metal/MTLDevice'),
}
