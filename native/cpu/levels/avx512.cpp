// The kernels of level avx512. Every build compiles this file with the options of the next line.
// options: -ffp-contract=fast -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512dq
#if defined(__x86_64__)
#define SSM_LEVEL avx512
#include "native/cpu/levels/level_kernels.h"
#endif
