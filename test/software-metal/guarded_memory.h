// What the rig's memory counts.
#pragma once

#include <cstdint>

namespace software_metal {

// Blocks of device memory that were ever allocated.
uint64_t allocations();

}  // namespace software_metal
