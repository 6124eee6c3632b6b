// Runs one kernel of seeded/bugs.metal: run_seeded <module> <kernel> <schedule>
// Prints what was wrong, or "ok" and the bits of the result.
#include <cstdio>
#include <exception>

#include "runtime.h"

int main(int count, char** arguments) {
  if (count != 4) {
    std::fprintf(stderr, "usage: run_seeded <module> <kernel> <schedule>\n");
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
    software_metal::load_kernels(arguments[1]);
    const auto schedule = software_metal::parse_schedule(arguments[3]);
    for (const auto& buffer : software_metal::execute(dispatch, schedule)) {
      std::printf("buffer(%u) read %llu (%llu) written %llu (%llu)\n", buffer.index,
                  static_cast<unsigned long long>(buffer.read),
                  static_cast<unsigned long long>(buffer.distinct_read),
                  static_cast<unsigned long long>(buffer.written),
                  static_cast<unsigned long long>(buffer.distinct_written));
    }
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 1;
  }
  std::printf("ok");
  for (size_t i = 0; i < out->size(); ++i) {
    std::printf("%s%02x", i % 4 == 0 ? " " : "", static_cast<unsigned>(out->data()[i]));
  }
  std::printf("\n");
  return 0;
}
