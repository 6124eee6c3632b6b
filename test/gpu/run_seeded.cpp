// Runs one kernel of test/software-metal/seeded/bugs.metal on the GPU:
//   gpu_run_seeded <folder of cubins> <kernel> [--uninitialised]
// With --uninitialised the kernel's input is memory that nobody has written.
// Prints the sum of the result. What is wrong with the kernel is for a checker to find.
#include <cstdio>
#include <cstring>
#include <exception>

#include "gpu.h"

int main(int count, char** arguments) {
  const bool initialised = count == 3;
  if (count != 3 && (count != 4 || std::strcmp(arguments[3], "--uninitialised") != 0)) {
    std::fprintf(stderr, "usage: gpu_run_seeded <folder of cubins> <kernel> [--uninitialised]\n");
    return 2;
  }
  constexpr size_t kElements = 128;
  const auto in = ssm::Memory::allocate(kElements * sizeof(float));
  const auto out = ssm::Memory::allocate(kElements * sizeof(float));
  for (size_t i = 0; i < kElements; ++i) reinterpret_cast<float*>(in->data())[i] = 1.0f + i;

  ssm::metal::Dispatch dispatch;
  dispatch.kernel = arguments[2];
  dispatch.buffers = {{0, {in, 0, in->size()}, false}, {1, {out, 0, out->size()}, true}};
  dispatch.threadgroup_memory = {{0, 64 * sizeof(float)}};
  dispatch.threadgroups = {2};
  dispatch.threads = {64};
  try {
    ssm::gpu::Gpu gpu(arguments[1]);
    if (initialised) {
      gpu.run({dispatch}, {in, out}, true);
    } else {
      gpu.run({dispatch}, {out}, false);
    }
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 1;
  }
  double sum = 0;
  for (size_t i = 0; i < kElements; ++i) sum += reinterpret_cast<float*>(out->data())[i];
  std::printf("ok %g\n", sum);
  return 0;
}
