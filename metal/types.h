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
  kUInt8 = 4,
};

// In place of a slot: a row that has none. Kernels take every number that is no slot for this one.
enum Slot : uint32_t {
  kNoSlot = 0xffffffff,
};

// Quantised formats (metal/quantized.h), named as MLX does.
enum QuantizedMode : uint32_t {
  kAffine = 0,
  kMxfp4 = 1,
  kNvfp4 = 2,
};

// Activation functions of an MLP.
enum Activation : uint32_t {
  kGelu = 0,  // exact: x * (1 + erf(x / sqrt(2))) / 2
  kSilu = 1,  // x * sigmoid(x)
  kIdentity = 2,
  kRelu2 = 3,  // max(x, 0)^2
};
