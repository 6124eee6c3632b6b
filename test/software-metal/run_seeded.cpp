// Runs one kernel of seeded/bugs.metal: run_seeded <module> <kernel> <schedule> [beside]
// Prints what was wrong, or "ok" and the bits of the result. "beside": the output ends where the
// memory of the rig's fibers begins.
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "machine.h"
#include "runtime.h"
#include "seeded_dispatch.h"

namespace {

// In the page that is the guard before the memory of fibers.
std::shared_ptr<ssm::Memory> memory_beside_fibers(size_t bytes) {
  constexpr size_t kPage = 4096;
  auto* end = const_cast<std::byte*>(software_metal::fiber_memory().begin);
  if (mprotect(end - kPage, kPage, PROT_READ | PROT_WRITE) != 0) std::abort();
  const std::shared_ptr<std::byte> begin(end - bytes, [](std::byte*) {});
  return std::make_shared<ssm::Memory>(begin, bytes);
}

}  // namespace

int main(int count, char** arguments) {
  const bool is_beside = count == 5 && std::strcmp(arguments[4], "beside") == 0;
  if (count != 4 && !is_beside) {
    std::fprintf(stderr, "usage: run_seeded <module> <kernel> <schedule> [beside]\n");
    return 2;
  }
  software_metal::SeededDispatch seeded(arguments[2]);
  if (is_beside) {
    seeded.out = memory_beside_fibers(seeded.out->size());
    seeded.dispatch.buffers[1].binding.memory = seeded.out;
  }
  try {
    software_metal::load_kernels(arguments[1]);
    const auto schedule = software_metal::parse_schedule(arguments[3]);
    for (const auto& buffer : software_metal::execute(seeded.dispatch, schedule)) {
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
  for (size_t i = 0; i < seeded.out->size(); ++i) {
    std::printf("%s%02x", i % 4 == 0 ? " " : "", static_cast<unsigned>(seeded.out->data()[i]));
  }
  std::printf("\n");
  return 0;
}
