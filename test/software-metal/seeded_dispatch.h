// How the kernels of seeded/bugs.metal are run, by the rig and on a GPU.
#pragma once

#include <memory>
#include <string>

#include "native/metal/program.h"

namespace software_metal {

// Two threadgroups of 64 threads with 64 floats of threadgroup memory.
struct SeededDispatch {
  static constexpr size_t kElements = 128;

  explicit SeededDispatch(const std::string& kernel) {
    for (size_t i = 0; i < kElements; ++i) reinterpret_cast<float*>(in->data())[i] = 1.0f + i;
    dispatch.kernel = kernel;
    dispatch.buffers = {{0, {in, 0, in->size()}, false}, {1, {out, 0, out->size()}, true}};
    dispatch.threadgroup_memory = {{0, 64 * sizeof(float)}};
    dispatch.threadgroups = {2};
    dispatch.threads = {64};
  }

  std::shared_ptr<ssm::Memory> in = ssm::Memory::allocate(kElements * sizeof(float));  // 1, 2, ...
  std::shared_ptr<ssm::Memory> out = ssm::Memory::allocate(kElements * sizeof(float));
  ssm::metal::Dispatch dispatch;
};

}  // namespace software_metal
