// The kernels of level neon. Every build compiles this file with the options of the next line.
// options: -ffp-contract=fast
#if defined(__aarch64__)
#define SSM_LEVEL neon
#include "native/cpu/levels/level_kernels.h"
#endif
