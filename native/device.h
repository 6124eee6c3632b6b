// What a device must do. The CPU device is native/cpu/; others follow the same interface.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "native/command_list.h"
#include "native/failure.h"
#include "native/kernel_text.h"
#include "native/tunable.h"

namespace ssm {

// How a run ended, and with it what has become of the memory that it writes.
// lib/addon/contract.ts has the same numbers.
enum class RunStatus {
  done = 0,
  failed = 1,     // an operation refused its data, or the run was never begun
  cancelled = 2,  // by `Run::cancelled`
  // What a run of these wrote is in no known state: see `leaves_a_mixture`.
  device_failed = 3,
  device_lost = 4,  // it takes no more runs
  abandoned = 5,    // the device was disposed of while it still computed
};

inline bool leaves_a_mixture(RunStatus status) { return status >= RunStatus::device_failed; }

// Whether there is a failure to tell of.
inline bool has_failed(RunStatus status) {
  return status == RunStatus::failed || status == RunStatus::device_failed ||
         status == RunStatus::device_lost;
}

struct RunEnd {
  RunStatus status = RunStatus::done;
  Failure failure = {};                 // where it `has_failed`
  std::vector<std::byte> outputs = {};  // of a run that is done: its `output_bytes`

  static RunEnd fail(Failure failure, RunStatus status = RunStatus::failed) {
    return {.status = status, .failure = std::move(failure)};
  }
  static RunEnd cancel() { return {.status = RunStatus::cancelled}; }
};

// One run of a command list. `cancelled` may be set from any thread; the device then stops before
// the next operation (or part of one) and reports the run as cancelled.
struct Run {
  std::shared_ptr<const CommandList> list;
  std::vector<std::byte> inputs;  // at least those that the list uses
  size_t output_bytes = 0;        // likewise
  std::atomic<bool> cancelled{false};
  // Where the inputs and outputs are while it runs. Null: in the list's own block.
  std::shared_ptr<Memory> block;
  // Called once, on a thread of the device.
  std::function<void(RunEnd)> on_complete;
};

// Puts the inputs of a run, and outputs of zeros, where its operations look for them.
void begin_run(const Run& run);
// The end of a run that is done, with its outputs.
RunEnd end_run(const Run& run);

// In bytes.
struct DeviceMemory {
  uint64_t budget = 0;          // what a process should use at most
  uint64_t in_use = 0;          // by this process
  uint64_t largest_buffer = 0;  // that an operation can use in one piece
};

class Device {
 public:
  virtual ~Device() = default;  // cancels what is queued, waits for its threads

  virtual unsigned threads() const = 0;
  // The instruction set that the CPU device uses (native/cpu/levels.h); none for others.
  virtual std::optional<std::string> level() const { return std::nullopt; }
  // The GPU's name, as its driver gives it; none for the CPU device.
  virtual std::optional<std::string> gpu() const { return std::nullopt; }
  // The value of each of `tunables()`, in that order; none for the CPU device.
  virtual TuningValues tuning() const { return {}; }
  // Which kernels the device dispatches for a list and how, as text; empty for the CPU device.
  virtual std::string dispatches(const CommandList& list) const {
    (void)list;
    return "";
  }

  // Makes ready what runs of the list need and returns at once; calls `done` when it is, here or on
  // a thread of the device: it failed when something is wrong with the list, and was cancelled when
  // the device goes before that. Runs do not need it: what is missing is made ready then.
  virtual void prepare(std::shared_ptr<const CommandList> list, std::function<void(RunEnd)> done) {
    (void)list;
    done({});
  }
  // What the GPU may use; zeros for the CPU device.
  virtual DeviceMemory memory() const { return {}; }
  // Bytes that the device needs for a block of memory, whole pages. Throws std::runtime_error when
  // the device cannot use so large a block.
  virtual size_t footprint(const Memory& memory) const { return page_bytes(memory.size()); }
  // Bytes that the device allocates for a list itself at its first run.
  virtual size_t scratch(const CommandList& list) const {
    (void)list;
    return 0;
  }

  // Queues a run and returns at once. Runs of one device finish in the order of submission.
  virtual void submit(std::shared_ptr<Run> run) = 0;
};

// The devices of this build, the fastest first.
std::vector<std::string> device_names();

// What is tuned for a GPU; the same in every build.
std::vector<Tunable> tunables();

// `threads` is for the CPU device, at least 1. `tuning` is for a GPU: changes to the
// table of its family. `timeout` is for a GPU: seconds after which one that ends nothing is given
// up. Throws std::invalid_argument for a name that this build does not have and for changes that
// the table does not allow, std::runtime_error when the device cannot be started.
std::unique_ptr<Device> create_device(const std::string& name, unsigned threads,
                                      const TuningValues& tuning, double timeout);

// The kernels that an Apple GPU compiles for a list, each once; needs no GPU. Throws
// std::runtime_error where this build has no Metal kernels.
std::vector<KernelText> kernel_texts(const CommandList& list);

// `level`: a name of native/cpu/levels.h; without one that which the environment names, or the
// fastest.
std::unique_ptr<Device> create_cpu_device(unsigned threads,
                                          const std::optional<std::string>& level = std::nullopt);

}  // namespace ssm
