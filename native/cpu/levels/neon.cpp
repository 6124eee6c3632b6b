// Compiled with the flags of its level: binding.gyp, test/software-metal/CMakeLists.txt.
#if defined(__aarch64__)
#define SSM_LEVEL neon
#include "native/cpu/levels/level_kernels.h"
#endif
