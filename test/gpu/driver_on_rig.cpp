// A CUDA driver without a GPU, for tests of what calls it: memory is the host's, and a launch runs
// the kernel on the rig (test/software-metal). Modules are not looked into: the name of a function
// tells the kernel and its constants. A graph keeps its launches and repeats them.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernel_context.h"
#include "runtime.h"

namespace {

using ssm::metal::Dispatch;

constexpr int kSuccess = 0, kInvalidValue = 1, kOutOfMemory = 2, kNotFound = 500,
              kLaunchFailed = 719;

struct Function {
  Dispatch dispatch;  // its name and constants
};

struct Graph {
  std::vector<Dispatch> launches;
};

std::map<uint64_t, std::shared_ptr<ssm::Memory>> allocations;  // by their first byte
std::map<std::string, std::unique_ptr<Function>> functions;
std::unique_ptr<Graph> captured;  // while a stream captures

// The rest of the allocation from `address` on.
ssm::Binding binding_at(uint64_t address) {
  auto next = allocations.upper_bound(address);
  if (next != allocations.begin()) {
    const auto& [begin, memory] = *--next;
    const size_t offset = address - begin;
    if (offset < memory->size()) return {memory, offset, memory->size() - offset};
  }
  throw std::runtime_error("a launch is given an address outside of all allocations");
}

// "kernel__name_value__name_value"
Dispatch parse(const std::string& name) {
  Dispatch dispatch;
  size_t at = name.find("__");
  dispatch.kernel = name.substr(0, at);
  while (at != std::string::npos) {
    const size_t next = name.find("__", at + 2);
    const size_t middle = name.rfind('_', next == std::string::npos ? next : next - 1);
    dispatch.constants.push_back({name.substr(at + 2, middle - at - 2),
                                  static_cast<uint32_t>(std::stoul(name.substr(middle + 1)))});
    at = next;
  }
  return dispatch;
}

template <class Body>
int guarded(Body body) {
  try {
    body();
    return kSuccess;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return kLaunchFailed;
  }
}

}  // namespace

#define SSM_EXPORT extern "C" SOFTWARE_METAL_EXPORT int

SSM_EXPORT cuInit(unsigned) { return kSuccess; }
SSM_EXPORT cuGetErrorName(int error, const char** name) {
  *name = error == kOutOfMemory    ? "CUDA_ERROR_OUT_OF_MEMORY"
          : error == kNotFound     ? "CUDA_ERROR_NOT_FOUND"
          : error == kLaunchFailed ? "CUDA_ERROR_LAUNCH_FAILED"
                                   : "CUDA_ERROR_INVALID_VALUE";
  return kSuccess;
}
SSM_EXPORT cuDeviceGet(int* device, int) {
  *device = 0;
  return kSuccess;
}
SSM_EXPORT cuDeviceGetName(char* name, int size, int) {
  std::snprintf(name, size, "the rig");
  return kSuccess;
}
SSM_EXPORT cuDeviceGetAttribute(int* value, int, int) {
  *value = 1 << 10;
  return kSuccess;
}
SSM_EXPORT cuDevicePrimaryCtxRetain(void** context, int) {
  *context = nullptr;
  return kSuccess;
}
SSM_EXPORT cuCtxSetCurrent(void*) { return kSuccess; }

SSM_EXPORT cuMemAlloc_v2(uint64_t* address, size_t bytes) {
  if (bytes == 0) return kInvalidValue;
  return guarded([&] {
    auto memory = ssm::Memory::allocate(bytes);
    *address = reinterpret_cast<uint64_t>(memory->data());
    allocations[*address] = std::move(memory);
  });
}
SSM_EXPORT cuMemFree_v2(uint64_t address) {
  return allocations.erase(address) == 1 ? kSuccess : kInvalidValue;
}
SSM_EXPORT cuMemcpyHtoD_v2(uint64_t to, const void* from, size_t bytes) {
  std::memcpy(reinterpret_cast<void*>(to), from, bytes);
  return kSuccess;
}
SSM_EXPORT cuMemcpyDtoH_v2(void* to, uint64_t from, size_t bytes) {
  std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
  return kSuccess;
}
SSM_EXPORT cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void*) {
  std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
  return kSuccess;
}
SSM_EXPORT cuMemsetD8_v2(uint64_t address, unsigned char value, size_t bytes) {
  std::memset(reinterpret_cast<void*>(address), value, bytes);
  return kSuccess;
}

SSM_EXPORT cuModuleLoadData(void** module, const void*) {
  *module = nullptr;
  return kSuccess;
}
SSM_EXPORT cuModuleGetFunction(void** function, void*, const char* name) {
  auto& known = functions[name];
  if (!known) known = std::make_unique<Function>(Function{parse(name)});
  *function = known.get();
  return kSuccess;
}

SSM_EXPORT cuLaunchKernel(void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                          unsigned block_x, unsigned block_y, unsigned block_z,
                          unsigned shared_bytes, void*, void** arguments, void**) {
  return guarded([&] {
    Dispatch dispatch = static_cast<Function*>(function)->dispatch;
    dispatch.threadgroups = {grid_x, grid_y, grid_z};
    dispatch.threads = {block_x, block_y, block_z};
    const auto& kernel = software_metal::signature(dispatch.kernel);
    std::vector<std::pair<uint32_t, uint32_t>> offsets;  // of threadgroup memory, and its index
    for (uint32_t i = 0; i < kernel.argument_count; ++i) {
      const auto& argument = kernel.arguments[i];
      if (argument.is_threadgroup) {
        offsets.push_back({*static_cast<uint32_t*>(arguments[i]), argument.index});
      } else if (argument.bytes != 0) {  // by value
        const auto* begin = static_cast<const std::byte*>(arguments[i]);
        dispatch.params_index = argument.index;
        dispatch.params.assign(begin, begin + argument.bytes);
      } else if (const auto address = *static_cast<uint64_t*>(arguments[i]); address != 0) {
        dispatch.buffers.push_back({argument.index, binding_at(address), argument.is_written});
      }
    }
    std::sort(offsets.begin(), offsets.end());
    for (size_t i = 0; i < offsets.size(); ++i) {
      const uint32_t end = i + 1 < offsets.size() ? offsets[i + 1].first : shared_bytes;
      dispatch.threadgroup_memory.push_back({offsets[i].second, end - offsets[i].first});
    }
    if (captured) {
      captured->launches.push_back(std::move(dispatch));
    } else {
      software_metal::execute(dispatch, {});
    }
  });
}

SSM_EXPORT cuStreamCreate(void** stream, unsigned) {
  *stream = nullptr;
  return kSuccess;
}
SSM_EXPORT cuStreamSynchronize(void*) { return kSuccess; }
SSM_EXPORT cuStreamBeginCapture_v2(void*, int) {
  captured = std::make_unique<Graph>();
  return kSuccess;
}
SSM_EXPORT cuStreamEndCapture(void*, void** graph) {
  *graph = captured.release();
  return kSuccess;
}
SSM_EXPORT cuGraphInstantiateWithFlags(void** executable, void* graph, uint64_t) {
  *executable = new Graph(*static_cast<Graph*>(graph));
  return kSuccess;
}
SSM_EXPORT cuGraphLaunch(void* executable, void*) {
  return guarded([&] {
    for (const Dispatch& dispatch : static_cast<Graph*>(executable)->launches) {
      software_metal::execute(dispatch, {});
    }
  });
}
SSM_EXPORT cuGraphExecDestroy(void* executable) {
  delete static_cast<Graph*>(executable);
  return kSuccess;
}
SSM_EXPORT cuGraphDestroy(void* graph) {
  delete static_cast<Graph*>(graph);
  return kSuccess;
}
SSM_EXPORT cuEventCreate(void** event, unsigned) {
  *event = nullptr;
  return kSuccess;
}
SSM_EXPORT cuEventRecord(void*, void*) { return kSuccess; }
SSM_EXPORT cuEventSynchronize(void*) { return kSuccess; }
SSM_EXPORT cuEventElapsedTime(float* milliseconds, void*, void*) {
  *milliseconds = 1.0f;
  return kSuccess;
}
