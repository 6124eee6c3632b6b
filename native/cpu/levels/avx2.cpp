// The kernels of level avx2. Every build compiles this file with the options of the next line.
// options: -ffp-contract=fast -mavx2 -mfma -mf16c
#if defined(__x86_64__)
#define SSM_LEVEL avx2
#include "native/cpu/levels/level_kernels.h"
#endif
