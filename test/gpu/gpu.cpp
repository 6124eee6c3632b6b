#include "gpu.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>

#include "kernel_context.h"
#include "runtime.h"

namespace ssm::gpu {

using metal::Dispatch;

namespace {

constexpr uint32_t kMaxCopies = 256;
constexpr int kTimedRuns = 15;

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) throw std::runtime_error("cannot read " + path.string());
  return text.str();
}

std::map<const Memory*, std::shared_ptr<Memory>> memories_of(
    const std::vector<Dispatch>& dispatches) {
  std::map<const Memory*, std::shared_ptr<Memory>> result;
  for (const Dispatch& dispatch : dispatches) {
    for (const auto& argument : dispatch.buffers) {
      result.emplace(argument.binding.memory.get(), argument.binding.memory);
    }
  }
  return result;
}

}  // namespace

std::string function_name(const Dispatch& dispatch) {
  const software_metal::KernelInfo& kernel = software_metal::check_dispatch(dispatch);
  std::string name = dispatch.kernel;
  for (uint32_t i = 0; i < kernel.constant_count; ++i) {
    for (const auto& [constant, value] : dispatch.constants) {
      if (constant != kernel.constants[i].name) continue;
      name += "__" + constant + "_" + std::to_string(value);
    }
  }
  return name;
}

Gpu::Gpu(const std::string& folder) {
  SSM_CUDA(cuInit, 0);
  int device = 0;
  SSM_CUDA(cuDeviceGet, &device, 0);
  char name[128] = {};
  SSM_CUDA(cuDeviceGetName, name, sizeof(name), device);
  name_ = name;
  int cache = 0;
  SSM_CUDA(cuDeviceGetAttribute, &cache, kL2CacheSize, device);
  cache_bytes_ = static_cast<size_t>(cache);
  SSM_CUDA(cuDevicePrimaryCtxRetain, &context_, device);
  make_current();
  SSM_CUDA(cuStreamCreate, &stream_, 0);
  SSM_CUDA(cuEventCreate, &start_, 0);
  SSM_CUDA(cuEventCreate, &end_, 0);
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".cubin") continue;
    Image& image = images_.emplace_back(Image{nullptr, read_file(entry.path())});
    SSM_CUDA(cuModuleLoadData, &image.module, image.bytes.c_str());
  }
  if (images_.empty()) throw std::runtime_error(folder + " has no .cubin");
}

Gpu::~Gpu() {
  for (const auto& [memory, block] : blocks_) driver().cuMemFree_v2(block.address);
}

void Gpu::make_current() { SSM_CUDA(cuCtxSetCurrent, context_); }

// One allocation for each memory, of its very size: checkers then see an access past its end.
Gpu::Block& Gpu::block_of(const std::shared_ptr<Memory>& memory) {
  Block& block = blocks_[memory.get()];
  if (block.memory.lock() == memory) return block;
  // New, or another memory that stood at the same place before.
  if (block.address != 0) SSM_CUDA(cuMemFree_v2, block.address);
  block = {memory, 0, memory->size(), false};
  SSM_CUDA(cuMemAlloc_v2, &block.address, std::max<size_t>(block.bytes, 1));
  return block;
}

Function Gpu::function(const std::string& name) {
  const auto known = functions_.find(name);
  if (known != functions_.end()) return known->second;
  Function found = nullptr;
  // Each function is a section of its own. Asking the wrong module would be an error to checkers.
  const std::string section = ".text." + name + '\0';
  for (const Image& image : images_) {
    if (!image.bytes.empty() && image.bytes.find(section) == std::string::npos) continue;
    SSM_CUDA(cuModuleGetFunction, &found, image.module, name.c_str());
    return functions_[name] = found;
  }
  throw std::runtime_error("no cubin has " + name +
                           ": it is not among the pipelines that were compiled");
}

void Gpu::launch(const Dispatch& dispatch, const Addresses& addresses) {
  const software_metal::KernelInfo& kernel = software_metal::check_dispatch(dispatch);
  std::map<uint32_t, Address> buffers;
  for (const auto& [index, binding, written] : dispatch.buffers) {
    buffers[index] = addresses.at(binding.memory.get()) + binding.offset;
  }
  std::map<uint32_t, uint32_t> offsets;  // in the block's shared memory
  uint32_t shared_bytes = 0;
  for (const auto& [index, bytes] : dispatch.threadgroup_memory) {
    offsets[index] = shared_bytes;
    shared_bytes += bytes;
  }
  Address absent = 0;
  std::vector<void*> arguments;
  for (uint32_t i = 0; i < kernel.argument_count; ++i) {
    const auto& argument = kernel.arguments[i];
    if (argument.is_threadgroup) {
      arguments.push_back(&offsets[argument.index]);
    } else if (argument.index == dispatch.params_index && !dispatch.params.empty()) {
      arguments.push_back(const_cast<std::byte*>(dispatch.params.data()));
    } else {
      const auto bound = buffers.find(argument.index);
      arguments.push_back(bound == buffers.end() ? &absent : &bound->second);
    }
  }
  const auto& [x, y, z] = dispatch.threadgroups;
  const auto& [i, j, k] = dispatch.threads;
  const std::string name = function_name(dispatch);
  const Result result = driver().cuLaunchKernel(function(name), x, y, z, i, j, k, shared_bytes,
                                                stream_, arguments.data(), nullptr);
  check(result, name.c_str());
}

void Gpu::run(const std::vector<Dispatch>& dispatches,
              const std::vector<std::shared_ptr<Memory>>& inputs, bool poison) {
  for (auto entry = blocks_.begin(); entry != blocks_.end();) {
    if (!entry->second.memory.expired()) {
      ++entry;
      continue;
    }
    SSM_CUDA(cuMemFree_v2, entry->second.address);
    entry = blocks_.erase(entry);
  }
  Addresses addresses;
  for (const auto& [key, memory] : memories_of(dispatches)) {
    Block& block = block_of(memory);
    addresses[key] = block.address;
    const bool has_contents = std::find(inputs.begin(), inputs.end(), memory) != inputs.end();
    if (!has_contents) {
      if (poison) SSM_CUDA(cuMemsetD8_v2, block.address, 0xff, block.bytes);
    } else if (!block.is_current) {
      SSM_CUDA(cuMemcpyHtoD_v2, block.address, memory->data(), block.bytes);
      block.is_current = memory->is_mapped_file();
    }
  }
  for (const Dispatch& dispatch : dispatches) launch(dispatch, addresses);
  SSM_CUDA(cuStreamSynchronize, stream_);

  std::map<const Memory*, std::shared_ptr<Memory>> written;
  for (const Dispatch& dispatch : dispatches) {
    for (const auto& argument : dispatch.buffers) {
      const auto& memory = argument.binding.memory;
      if (argument.written && std::find(inputs.begin(), inputs.end(), memory) != inputs.end()) {
        written.emplace(memory.get(), memory);
      }
    }
  }
  for (const auto& [key, memory] : written) {
    SSM_CUDA(cuMemcpyDtoH_v2, memory->data(), addresses.at(key), memory->size());
  }
}

double Gpu::elapsed(GraphExec graph) {
  SSM_CUDA(cuEventRecord, start_, stream_);
  SSM_CUDA(cuGraphLaunch, graph, stream_);
  SSM_CUDA(cuEventRecord, end_, stream_);
  SSM_CUDA(cuEventSynchronize, end_);
  float milliseconds = 0;
  SSM_CUDA(cuEventElapsedTime, &milliseconds, start_, end_);
  return 1e3 * milliseconds;
}

Timing Gpu::time(const std::vector<Dispatch>& dispatches) {
  const auto memories = memories_of(dispatches);
  size_t bytes = 1;
  for (const auto& [key, memory] : memories) bytes += memory->size();
  const auto copies =
      static_cast<uint32_t>(std::clamp<size_t>(4 * cache_bytes_ / bytes + 1, 1, kMaxCopies));
  std::vector<Addresses> sets(copies);
  std::vector<Address> allocated;
  for (uint32_t i = 0; i < copies; ++i) {
    for (const auto& [key, memory] : memories) {
      const Block& block = block_of(memory);
      if (i == 0) {
        sets[i][key] = block.address;
        continue;
      }
      Address& copy = allocated.emplace_back(0);
      SSM_CUDA(cuMemAlloc_v2, &copy, std::max<size_t>(block.bytes, 1));
      SSM_CUDA(cuMemcpyDtoDAsync_v2, copy, block.address, block.bytes, stream_);
      sets[i][key] = copy;
    }
  }
  for (const Dispatch& dispatch : dispatches) launch(dispatch, sets[0]);  // loads the functions
  SSM_CUDA(cuStreamSynchronize, stream_);

  Graph graph = nullptr;
  GraphExec executable = nullptr;
  SSM_CUDA(cuStreamBeginCapture_v2, stream_, kCaptureRelaxed);
  for (const Addresses& set : sets) {
    for (const Dispatch& dispatch : dispatches) launch(dispatch, set);
  }
  SSM_CUDA(cuStreamEndCapture, stream_, &graph);
  SSM_CUDA(cuGraphInstantiateWithFlags, &executable, graph, 0);
  std::vector<double> times;
  for (int i = 0; i < 2; ++i) elapsed(executable);
  for (int i = 0; i < kTimedRuns; ++i) times.push_back(elapsed(executable) / copies);
  SSM_CUDA(cuGraphExecDestroy, executable);
  SSM_CUDA(cuGraphDestroy, graph);
  for (const Address address : allocated) SSM_CUDA(cuMemFree_v2, address);
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times[0], copies};
}

double Gpu::copy_speed() {
  const size_t bytes = 8 * std::max<size_t>(cache_bytes_, 1 << 20);
  Address from = 0, to = 0;
  SSM_CUDA(cuMemAlloc_v2, &from, bytes);
  SSM_CUDA(cuMemAlloc_v2, &to, bytes);
  SSM_CUDA(cuMemsetD8_v2, from, 1, bytes);
  std::vector<double> times;
  for (int i = 0; i < kTimedRuns; ++i) {
    SSM_CUDA(cuEventRecord, start_, stream_);
    SSM_CUDA(cuMemcpyDtoDAsync_v2, to, from, bytes, stream_);
    SSM_CUDA(cuEventRecord, end_, stream_);
    SSM_CUDA(cuEventSynchronize, end_);
    float milliseconds = 0;
    SSM_CUDA(cuEventElapsedTime, &milliseconds, start_, end_);
    times.push_back(milliseconds);
  }
  SSM_CUDA(cuMemFree_v2, from);
  SSM_CUDA(cuMemFree_v2, to);
  std::sort(times.begin(), times.end());
  return 2.0 * static_cast<double>(bytes) / 1e6 / times[times.size() / 2];
}

}  // namespace ssm::gpu
