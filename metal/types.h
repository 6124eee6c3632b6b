// Constants that host and kernels share.
#pragma once
#ifndef __METAL_VERSION__
#include <cstdint>
#endif

// Element types of a buffer, as the host passes them with every binding.
enum DataType : uint32_t {
  kFloat32 = 0,
  kFloat16 = 1,
  kBFloat16 = 2,
  kUInt32 = 3,
};

// Activation functions of an MLP.
enum Activation : uint32_t {
  kGelu = 0,  // exact: x * (1 + erf(x / sqrt(2))) / 2
  kSilu = 1,  // x * sigmoid(x)
  kIdentity = 2,
};
