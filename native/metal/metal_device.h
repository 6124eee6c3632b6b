// The GPU of a Mac. metal_device.mm is the one file that knows Apple's API.
#pragma once

#include <memory>

#include "native/device.h"

namespace ssm {

// Whether this machine has a GPU that the kernels need: Apple silicon, for its matrices of a
// simdgroup.
bool has_metal_device();

// `tuning`: changes to the table of Apple's GPUs. Throws std::invalid_argument when the table does
// not allow them, std::runtime_error when there is no GPU. `timeout`: seconds, RunsInFlight's
// limit.
std::unique_ptr<Device> create_metal_device(const TuningValues& tuning, double timeout);

}  // namespace ssm
