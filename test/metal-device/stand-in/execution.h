// What the GPU of the stand-in does with the commands of a command buffer.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "kernel_context.h"
#include "native/metal/program.h"
#include "runtime.h"

namespace metal_stand_in {

// A dispatch, or where `kernel` is null a barrier.
struct Command {
  const software_metal::KernelInfo* kernel = nullptr;
  ssm::metal::Dispatch dispatch;
  bool is_exact = true;  // the bytes of all arguments are known, not only of their buffers
};

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

// What the environment asks for (README.md of test/software-metal).
struct Options {
  std::vector<software_metal::Schedule> schedules;
  std::unique_ptr<std::FILE, CloseFile> trace;
};

// Throws std::exception when a variable makes no sense. Loads kernels that replace others.
std::shared_ptr<const Options> options_of_environment();

// Runs commands to their end. Returns what was wrong with a kernel, or "". Ends the process where a
// barrier is missing.
std::string execute(const std::vector<Command>& commands, const Options& options);

}  // namespace metal_stand_in
