// Runs one kernel of seeded/bugs.metal: run_seeded <module> <kernel> <schedule>
// Prints what was wrong, or "ok" and the bits of the result.
#include <cstdio>
#include <exception>

#include "runtime.h"
#include "seeded_dispatch.h"

int main(int count, char** arguments) {
  if (count != 4) {
    std::fprintf(stderr, "usage: run_seeded <module> <kernel> <schedule>\n");
    return 2;
  }
  const software_metal::SeededDispatch seeded(arguments[2]);
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
