// The CUDA driver, found when the program runs: nothing of the CUDA toolkit is needed to build, and
// a machine without a GPU can put its own library in its place (driver_on_rig.cpp).
#pragma once

#include <cstddef>
#include <cstdint>

namespace ssm::gpu {

// As in cuda.h. Handles are opaque pointers; results are 0 for success.
using Result = int;
using Address = uint64_t;  // in the GPU's memory
using Context = struct OpaqueContext*;
using Module = struct OpaqueModule*;
using Function = struct OpaqueFunction*;
using Stream = struct OpaqueStream*;
using Event = struct OpaqueEvent*;
using Graph = struct OpaqueGraph*;
using GraphExec = struct OpaqueGraphExec*;

inline constexpr int kL2CacheSize = 38;    // CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE
inline constexpr int kCaptureRelaxed = 2;  // CU_STREAM_CAPTURE_MODE_RELAXED

// name in the library | arguments
#define SSM_DRIVER_FUNCTIONS(X)                                                                   \
  X(cuInit, (unsigned flags))                                                                     \
  X(cuGetErrorName, (Result error, const char** name))                                            \
  X(cuDeviceGet, (int* device, int ordinal))                                                      \
  X(cuDeviceGetName, (char* name, int size, int device))                                          \
  X(cuDeviceGetAttribute, (int* value, int attribute, int device))                                \
  X(cuDevicePrimaryCtxRetain, (Context * context, int device))                                    \
  X(cuCtxSetCurrent, (Context context))                                                           \
  X(cuMemAlloc_v2, (Address * address, size_t bytes))                                             \
  X(cuMemFree_v2, (Address address))                                                              \
  X(cuMemcpyHtoD_v2, (Address to, const void* from, size_t bytes))                                \
  X(cuMemcpyDtoH_v2, (void* to, Address from, size_t bytes))                                      \
  X(cuMemcpyDtoDAsync_v2, (Address to, Address from, size_t bytes, Stream stream))                \
  X(cuMemsetD8_v2, (Address address, unsigned char value, size_t bytes))                          \
  X(cuModuleLoadData, (Module * module, const void* image))                                       \
  X(cuModuleGetFunction, (Function * function, Module module, const char* name))                  \
  X(cuLaunchKernel, (Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z,        \
                     unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes, \
                     Stream stream, void** arguments, void** extra))                              \
  X(cuStreamCreate, (Stream * stream, unsigned flags))                                            \
  X(cuStreamSynchronize, (Stream stream))                                                         \
  X(cuStreamBeginCapture_v2, (Stream stream, int mode))                                           \
  X(cuStreamEndCapture, (Stream stream, Graph * graph))                                           \
  X(cuGraphInstantiateWithFlags, (GraphExec * executable, Graph graph, uint64_t flags))           \
  X(cuGraphLaunch, (GraphExec executable, Stream stream))                                         \
  X(cuGraphExecDestroy, (GraphExec executable))                                                   \
  X(cuGraphDestroy, (Graph graph))                                                                \
  X(cuEventCreate, (Event * event, unsigned flags))                                               \
  X(cuEventRecord, (Event event, Stream stream))                                                  \
  X(cuEventSynchronize, (Event event))                                                            \
  X(cuEventElapsedTime, (float* milliseconds, Event start, Event end))

struct Driver {
#define SSM_DRIVER_FUNCTION(name, arguments) Result(*name) arguments;
  SSM_DRIVER_FUNCTIONS(SSM_DRIVER_FUNCTION)
#undef SSM_DRIVER_FUNCTION
};

// Loads the driver on first use: libcuda.so.1, or what SSM_GPU_DRIVER names. Throws
// std::runtime_error with what is missing.
const Driver& driver();

// Throws std::runtime_error that names the call and the driver's error unless `result` is 0.
void check(Result result, const char* call);

}  // namespace ssm::gpu

// A call of the driver whose failure is an error.
#define SSM_CUDA(name, ...) ssm::gpu::check(ssm::gpu::driver().name(__VA_ARGS__), #name)
