// Runs one kernel of test/software-metal/seeded/bugs.metal on the GPU:
//   gpu_run_seeded <folder of cubins> <kernel> [--uninitialised]
// With --uninitialised the kernel's input is memory that nobody has written.
// Prints the sum of the result. What is wrong with the kernel is for a checker to find.
#include <cstdio>
#include <cstring>
#include <exception>

#include "gpu.h"
#include "seeded_dispatch.h"

int main(int count, char** arguments) {
  const bool initialised = count == 3;
  if (count != 3 && (count != 4 || std::strcmp(arguments[3], "--uninitialised") != 0)) {
    std::fprintf(stderr, "usage: gpu_run_seeded <folder of cubins> <kernel> [--uninitialised]\n");
    return 2;
  }
  const software_metal::SeededDispatch seeded(arguments[2]);
  try {
    ssm::gpu::Gpu gpu(arguments[1]);
    if (initialised) {
      gpu.run({seeded.dispatch}, {seeded.in, seeded.out}, true);
    } else {
      gpu.run({seeded.dispatch}, {seeded.out}, false);
    }
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 1;
  }
  double sum = 0;
  for (size_t i = 0; i < seeded.kElements; ++i)
    sum += reinterpret_cast<float*>(seeded.out->data())[i];
  std::printf("ok %g\n", sum);
  return 0;
}
