// How much memory this machine could give to this process now.
#pragma once

#include <cstdint>

namespace ssm {

// In bytes. 0 on Linux, whose files say it: lib/memory/available.ts reads them.
uint64_t available_memory();

}  // namespace ssm
