// What is tuned for a GPU, as names and numbers: only its device knows what they do
// (native/metal/tuning.h).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace ssm {

// One parameter. Any value from `least` to `most` is correct; `candidates` are worth measuring.
struct Tunable {
  const char* name;
  uint32_t least, most;
  std::vector<uint32_t> candidates;
  const char* meaning;
};

// Values of some parameters, by name.
using TuningValues = std::vector<std::pair<std::string, int64_t>>;

}  // namespace ssm
