#include "levels.h"

#include <cstdlib>
#include <stdexcept>

namespace ssm::cpu {

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

std::vector<Level> available_levels() {
  std::vector<Level> levels = {{"reference", nullptr}};
#if defined(__x86_64__)
  // Also asks whether the system saves the wider registers.
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("f16c")) {
    levels.push_back({"avx2", &avx2::kernels});
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
      levels.push_back({"avx512", &avx512::kernels});
    }
  }
#elif defined(__aarch64__)
  levels.push_back({"neon", &neon::kernels});
#endif
  return levels;
}

Level choose_level(const std::string& name) {
  const std::vector<Level> levels = available_levels();
  const char* forced = std::getenv("SSM_METAL_CPU_LEVEL");
  const std::string wanted = name.empty() && forced != nullptr ? forced : name;
  if (wanted.empty()) return levels.back();
  std::string names;
  for (const Level& level : levels) {
    if (level.name == wanted) return level;
    names += (names.empty() ? "" : ", ") + std::string(level.name);
  }
  throw std::invalid_argument("[createDevice] SSM_METAL_CPU_LEVEL must be one of " + names +
                              " on this machine but is '" + wanted + "'");
}

}  // namespace ssm::cpu
