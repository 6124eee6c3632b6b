// Levels of the CPU device: the instruction sets that its fast path is compiled for. A build has
// those of its architecture; the machine decides which of them can run.
//
//   reference  plain loops, native/cpu/operations/*.cpp, on every machine
//   avx2       x86-64 with AVX2, FMA and F16C: 8 floats at a time
//   avx512     x86-64 with AVX-512 F, BW, VL and DQ: 16 floats at a time
//   neon       arm64: 4 floats at a time
//
// The environment variable SSM_METAL_CPU_LEVEL forces one, for tests and for comparisons.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "native/cpu/fast/kernels.h"

namespace ssm::cpu {

struct Level {
  const char* name;
  const Kernels* kernels;  // null: reference
};

// What this machine can run, the slowest first.
std::vector<Level> available_levels();

// The level of this name; without one the level that SSM_METAL_CPU_LEVEL names, else the fastest.
// Throws std::invalid_argument for a name that this machine does not have, with the list of those
// it has.
Level choose_level(std::optional<std::string> name);

}  // namespace ssm::cpu
