// The small block of a run: what JavaScript gives it at submission and gets back at its end.
//
// A list binds its own block, which is the same for all its runs. A device that computes one run
// after another lets that block serve the run at hand (device.h: begin_run, end_run). One that has
// several runs under way at once gives each a block of its own and binds that instead.
#pragma once

#include <cstddef>

namespace ssm {

inline constexpr size_t kMostInputBytes = 4096;   // first in the block
inline constexpr size_t kMostOutputBytes = 4096;  // behind the inputs
inline constexpr size_t kOutputsOffset = kMostInputBytes;
inline constexpr size_t kRunBlockBytes = kMostInputBytes + kMostOutputBytes;

}  // namespace ssm
