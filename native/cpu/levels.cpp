#include "native/cpu/levels.h"

#include <cstdlib>
#include <stdexcept>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace ssm::cpu {

// native/cpu/levels/<level>.cpp
#if defined(__x86_64__)
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}
#elif defined(__aarch64__)
namespace neon {
extern const Kernels kernels;
}
#endif

namespace {

bool always() { return true; }

#if defined(__x86_64__)
struct Features {
  bool avx2 = false, avx512 = false;
};

// Asks the processor itself: __builtin_cpu_supports needs a runtime library that does, and zig's
// answers no to everything. macOS saves the registers of AVX-512 only for a process that has used
// them, so there it is avx2.
Features features() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return {};
  constexpr unsigned kBasic = bit_OSXSAVE | bit_FMA | bit_F16C;
  if ((c & kBasic) != kBasic || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return {};
  // What the system saves of the wider registers (XCR0).
  unsigned saved = 0, high = 0;
  __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
  constexpr unsigned kYmm = 0x06, kZmm = 0xe6;
  constexpr unsigned kAvx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ;
  const bool avx2 = (saved & kYmm) == kYmm && (b & bit_AVX2) != 0;
  return {avx2, avx2 && (saved & kZmm) == kZmm && (b & kAvx512) == kAvx512};
}

bool has_avx2() { return features().avx2; }
bool has_avx512() { return features().avx512; }
#endif

// The levels of this architecture, the slowest first, and what tells whether a machine has one.
constexpr struct {
  Level level;
  bool (*can_run)();
} kLevels[] = {
    {{"reference", nullptr}, always},
#if defined(__x86_64__)
    {{"avx2", &avx2::kernels}, has_avx2},
    {{"avx512", &avx512::kernels}, has_avx512},
#elif defined(__aarch64__)
    {{"neon", &neon::kernels}, always},
#endif
};

}  // namespace

std::vector<Level> available_levels() {
  std::vector<Level> levels;
  for (const auto& [level, can_run] : kLevels) {
    if (can_run()) levels.push_back(level);
  }
  return levels;
}

Level choose_level(std::optional<std::string> name) {
  const std::vector<Level> levels = available_levels();
  const char* forced = std::getenv("SSM_METAL_CPU_LEVEL");
  if (!name && forced != nullptr && *forced != '\0') name = forced;
  if (!name) return levels.back();
  std::string names;
  for (const Level& level : levels) {
    if (level.name == *name) return level;
    names += (names.empty() ? "" : ", ") + std::string(level.name);
  }
  throw std::invalid_argument("[createDevice] SSM_METAL_CPU_LEVEL must be one of " + names +
                              " on this machine but is '" + *name + "'");
}

}  // namespace ssm::cpu
