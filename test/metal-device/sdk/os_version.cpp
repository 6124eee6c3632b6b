// What clang calls for @available; on a Mac it comes with the compiler (compiler-rt).
#include <stdint.h>

extern "C" bool _availability_version_check(uint32_t count, const uint32_t (*versions)[2]);

extern "C" int32_t __isPlatformVersionAtLeast(uint32_t platform, uint32_t major, uint32_t minor,
                                              uint32_t patch) {
  const uint32_t versions[1][2] = {{platform, major << 16 | minor << 8 | patch}};
  return _availability_version_check(1, versions);
}
