// Compiled with the flags of its level: binding.gyp, test/software-metal/CMakeLists.txt.
#if defined(__x86_64__)
#define SSM_LEVEL avx512
#include "native/cpu/levels/level_kernels.h"
#endif
