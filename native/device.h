// What a device must do. The CPU device is native/cpu/; others follow the same interface.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "command_list.h"
#include "metal/kernel_text.h"
#include "metal/tuning.h"

namespace ssm {

// One run of a command list. `cancelled` may be set from any thread; the device then stops before
// the next operation (or part of one) and reports the run as cancelled.
struct Run {
  std::shared_ptr<const CommandList> list;
  std::atomic<bool> cancelled{false};
  // Called once, on a thread of the device. `error` is empty on success.
  std::function<void(std::string error)> on_complete;
};

class Device {
 public:
  virtual ~Device() = default;  // cancels what is queued, waits for its threads

  virtual unsigned threads() const = 0;
  // The instruction set that the CPU device uses (cpu/fast/levels.h); empty for others.
  virtual const char* level() const { return ""; }
  // The GPU's name, as its driver gives it; empty for the CPU device.
  virtual std::string gpu() const { return ""; }
  // What the device gives its dispatches; null for the CPU device.
  virtual const metal::Tuning* tuning() const { return nullptr; }
  // Which kernels the device dispatches for a list and how, as text; empty for the CPU device.
  virtual std::string dispatches(const CommandList& list) const {
    (void)list;
    return "";
  }

  // Makes ready what runs of the list need and returns at once; calls `done` when it is, here or on
  // a thread of the device, with an empty string, what is wrong with the list, or kCancelled when
  // the device goes before that. Runs do not need it: what is missing is made ready then.
  virtual void prepare(std::shared_ptr<const CommandList> list,
                       std::function<void(std::string error)> done) {
    (void)list;
    done("");
  }

  // Queues a run and returns at once. Runs of one device finish in the order of submission.
  virtual void submit(std::shared_ptr<Run> run) = 0;
};

inline constexpr const char* kCancelled = "cancelled";

// The devices of this build, the fastest first.
std::vector<std::string> device_names();

// `threads` is for the CPU device; 0: one for each core. `tuning` is for a GPU: changes to the
// table of its family. Throws std::invalid_argument for a name that this build does not have and
// for changes that the table does not allow, std::runtime_error when the device cannot be started.
std::unique_ptr<Device> create_device(const std::string& name, unsigned threads,
                                      const metal::TuningChanges& tuning);

// The kernels that an Apple GPU compiles for a list, each once; needs no GPU. Throws
// std::runtime_error where this build has no Metal kernels.
std::vector<metal::KernelText> kernel_texts(const CommandList& list);

// `level`: a name of cpu/fast/levels.h; empty: the one that the environment names, or the fastest.
std::unique_ptr<Device> create_cpu_device(unsigned threads, const std::string& level = "");

}  // namespace ssm
