// What tests may ask of the stand-in for Metal (metal_stand_in.mm), and make it do. All numbers may
// be set from any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace metal_stand_in {

struct Controls {
  // How many of the next ones fail.
  std::atomic<uint64_t> fail_buffers{0};          // as when memory is short
  std::atomic<uint64_t> fail_libraries{0};        // as when a kernel has a mistake
  std::atomic<uint64_t> fail_command_buffers{0};  // as when the GPU faults
  // Of the GPU.
  std::atomic<uint64_t> max_buffer_length{uint64_t{8} << 30};
  std::atomic<uint64_t> max_threads{1024};  // of a threadgroup of any kernel compiled from now on
  std::atomic<uint64_t> gpu_family{1007};   // the highest Apple family
  // Written by the stand-in.
  std::atomic<uint64_t> buffers_made{0}, command_buffers_done{0}, dispatches_done{0}, barriers{0};
};

Controls& controls();

}  // namespace metal_stand_in
