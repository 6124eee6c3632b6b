// What the GPU of the stand-in does with the commands of a command buffer.
#pragma once

#include <string>
#include <vector>

#include "kernel_context.h"
#include "program.h"

namespace metal_stand_in {

// A dispatch, or where `kernel` is null a barrier.
struct Command {
  const software_metal::KernelInfo* kernel = nullptr;
  ssm::metal::Dispatch dispatch;
};

// Runs commands to their end. Returns what was wrong with a kernel, or "". Ends the process where a
// barrier is missing.
std::string execute(const std::vector<Command>& commands);

}  // namespace metal_stand_in
