// What tests may ask of the stand-in for Metal, and make it do. All numbers may be set from any
// thread; module.cpp gives them to JavaScript.
#pragma once

#include <atomic>
#include <cstdint>

namespace metal_stand_in {

struct Controls {
  // How many of the next ones fail.
  std::atomic<uint64_t> fail_buffers{0};    // as when memory is short
  std::atomic<uint64_t> fail_libraries{0};  // as when a kernel has a mistake
  std::atomic<uint64_t> fail_pipelines{0};  // as when the compiler of the GPU's code fails
  std::atomic<uint64_t> fail_queues{0};     // newCommandQueue gives nil
  // computeCommandEncoder... gives nil; first, how many are made as they should be.
  std::atomic<uint64_t> fail_encoders{0}, spare_encoders{0};
  // How many of the next command buffers nothing of what follows is done to.
  std::atomic<uint64_t> spare{0};
  // How many of those after them end with an error of Metal's.
  std::atomic<uint64_t> fail_command_buffers{0};  // a page fault, before they compute anything
  std::atomic<uint64_t> fail_late{0};             // an internal error, after they have computed all
  std::atomic<uint64_t> time_out{0};              // the system kills them for taking long
  std::atomic<uint64_t> run_out_of_memory{0};     // their buffers cannot be made resident
  // An error that is not one of Metal's, though its number is that of running out of memory.
  std::atomic<uint64_t> fail_in_another_domain{0};
  // How many of the next command buffers never end, nor does any behind them. Once `end_hang` is
  // not 0, what hangs ends with an error.
  std::atomic<uint64_t> hang{0}, end_hang{0};
  // Not 0: every command buffer from now on fails and computes nothing.
  std::atomic<uint64_t> lose_device{0};
  // Milliseconds from a command buffer's end until its completion is told; the GPU goes on.
  std::atomic<uint64_t> completion_delay{0};
  // Milliseconds that the GPU takes for a command buffer at least.
  std::atomic<uint64_t> least_gpu_time{0};
  // The next completions, this many, are told in reverse order when the last of them has ended.
  std::atomic<uint64_t> reverse_completions{0};
  // 1: the next commit of a residency set makes it 2 and waits until it is 0.
  std::atomic<uint64_t> hold_commit{0};
  // Of the GPU.
  std::atomic<uint64_t> working_set{uint64_t{16} << 30};  // recommendedMaxWorkingSetSize
  std::atomic<uint64_t> allocated_elsewhere{0};           // by this process, besides our buffers
  std::atomic<uint64_t> max_buffer_length{uint64_t{8} << 30};
  std::atomic<uint64_t> max_threads{1024};  // of a threadgroup of any kernel compiled from now on
  std::atomic<uint64_t> gpu_family{1007};   // the highest Apple family
  // Written by the stand-in.
  std::atomic<uint64_t> buffers_made{0}, libraries_made{0}, pipelines_made{0};
  std::atomic<uint64_t> texts_compiled{0};  // libraries whose kernel is not the rig's own
  std::atomic<uint64_t> command_buffers_done{0}, dispatches_done{0}, barriers{0};
  std::atomic<uint64_t> buffer_bytes{0}, most_buffer_bytes{0};  // now, and at any time
  std::atomic<uint64_t> residency_commits{0}, residency_requests{0};
  // How often the GPU had nothing to do before it got a command buffer. Set it to 0 when a
  // generation begins.
  std::atomic<uint64_t> gpu_waits{0};
  // Dispatches encoded with an argument whose end nobody has told (bindings.h).
  std::atomic<uint64_t> inexact_dispatches{0};
};

Controls& controls();

}  // namespace metal_stand_in
