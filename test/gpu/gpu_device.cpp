// The addon's device 'metal' on an NVIDIA GPU: lists become programs by the same code as on a Mac
// (native/metal/), and gpu.cpp runs them. README.md lists the variables of the environment.
#include <sys/file.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>
#include <stdexcept>
#include <unordered_map>

#include "gpu.h"
#include "native/device.h"
#include "native/metal/program.h"
#include "native/run_queue.h"

namespace ssm {

namespace {

using metal::Dispatch;
using metal::Program;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

File open_file(const std::string& path) {
  if (path.empty()) return nullptr;
  File file(std::fopen(path.c_str(), "a"));
  if (!file) throw std::runtime_error("cannot write " + path);
  return file;
}

// While it lives no other process that has the same file runs anything on the GPU.
class Turn {
 public:
  explicit Turn(std::FILE* file) : file_(file) {
    if (file_ != nullptr) flock(fileno(file_), LOCK_EX);
  }
  ~Turn() {
    if (file_ != nullptr) flock(fileno(file_), LOCK_UN);
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  std::FILE* file_;
};

// Of "name=value,name=value", for native/metal/tuning.h.
TuningValues changes_in(const std::string& text) {
  TuningValues changes;
  std::istringstream words(text);
  for (std::string word; std::getline(words, word, ',');) {
    const size_t middle = word.find('=');
    if (middle == std::string::npos)
      throw std::runtime_error("no value in SSM_GPU_TUNING: " + word);
    changes.emplace_back(word.substr(0, middle), std::stoll(word.substr(middle + 1)));
  }
  return changes;
}

class GpuDevice final : public Device {
 public:
  explicit GpuDevice(const metal::Tuning& tuning)
      : pipelines_(open_file(environment("SSM_GPU_PIPELINES"))),
        launches_(open_file(environment("SSM_GPU_LAUNCHES"))),
        times_(open_file(environment("SSM_GPU_TIMES"))),
        lock_(open_file(environment("SSM_GPU_LOCK"))),
        poison_(environment("SSM_GPU_POISON") != "0") {
    limits_.tuning = metal::tuned(tuning, changes_in(environment("SSM_GPU_TUNING")));
    // Noting what has to be compiled needs no GPU.
    const Turn turn(lock_.get());
    if (!pipelines_) gpu_ = std::make_unique<gpu::Gpu>(environment("SSM_GPU_CUBINS"));
    queue_ =
        std::make_unique<RunQueue>([this](const auto& run) { run->on_complete(execute(*run)); });
  }

  ~GpuDevice() override { queue_.reset(); }

  unsigned threads() const override { return 1; }
  std::optional<std::string> gpu() const override { return gpu_ ? gpu_->name() : "none"; }
  TuningValues tuning() const override { return metal::values_of(limits_.tuning); }
  std::string dispatches(const CommandList& list) const override {
    return metal::describe(list, limits_);
  }

  void submit(std::shared_ptr<Run> run) override {
    // JavaScript sets it before each list that it wants to find again.
    {
      const std::lock_guard lock(labels_mutex_);
      labels_[run->list.get()] = environment("SSM_GPU_LABEL");
    }
    queue_->push(std::move(run));
  }

 private:
  struct Cached {
    std::weak_ptr<const CommandList> list;
    Program program;
  };

  // Runs on the queue's thread, as does everything below.
  RunEnd execute(const Run& run) {
    if (run.cancelled) return RunEnd::cancel();
    const Turn turn(lock_.get());
    begin_run(run);
    try {
      const Program& program = program_of(run.list);
      const auto& dispatches = program.dispatches();
      if (pipelines_) {
        for (const Dispatch& dispatch : dispatches) write_pipeline(dispatch);
        return end_run(run);
      }
      gpu_->make_current();
      const std::string label = label_of(*run.list);
      if (launches_) {
        for (const Dispatch& dispatch : dispatches) write_launch(dispatch, label);
      }
      gpu_->run(dispatches, inputs_of(*run.list), poison_);
      program.check_results();
      if (times_ && !label.empty()) write_time(dispatches, label);
    } catch (const std::exception&) {
      return RunEnd::fail(caught_failure());
    }
    return end_run(run);
  }

  // Turns a list into dispatches at its first run.
  const Program& program_of(const std::shared_ptr<const CommandList>& list) {
    std::erase_if(programs_, [](const auto& entry) { return entry.second.list.expired(); });
    const auto known = programs_.find(list.get());
    if (known != programs_.end()) return known->second.program;
    Program program = metal::make_program(*list, limits_, &Memory::allocate);
    return programs_.emplace(list.get(), Cached{list, std::move(program)}).first->second.program;
  }

  std::string label_of(const CommandList& list) {
    const std::lock_guard lock(labels_mutex_);
    return labels_[&list];
  }

  // What JavaScript knows of; all other memory of a program is scratch.
  static std::vector<std::shared_ptr<Memory>> inputs_of(const CommandList& list) {
    std::set<std::shared_ptr<Memory>> result;
    for (const Operation& operation : list.operations()) {
      for (const Binding& binding : operation.bindings) {
        if (binding.memory) result.insert(binding.memory);
      }
    }
    return {result.begin(), result.end()};
  }

  // In the form that compile-kernels.mjs reads.
  void write_pipeline(const Dispatch& dispatch) {
    const auto& [x, y, z] = dispatch.threads;
    const std::string name = gpu::function_name(dispatch);
    if (!known_pipelines_.insert(name + " " + std::to_string(x * y * z)).second) return;
    std::string constants;
    for (size_t at = name.find("__"); at != std::string::npos;) {
      const size_t next = name.find("__", at + 2);
      const std::string pair = name.substr(at + 2, next - at - 2);
      const size_t middle = pair.rfind('_');
      constants += (constants.empty() ? "\"" : ",\"") + pair.substr(0, middle) +
                   "\":" + pair.substr(middle + 1);
      at = next;
    }
    std::fprintf(pipelines_.get(), "{\"kernel\":\"%s\",\"constants\":{%s},\"threads\":%u}\n",
                 dispatch.kernel.c_str(), constants.c_str(), x * y * z);
    std::fflush(pipelines_.get());
  }

  void write_launch(const Dispatch& dispatch, const std::string& label) {
    const auto& [x, y, z] = dispatch.threadgroups;
    const auto& [i, j, k] = dispatch.threads;
    std::fprintf(launches_.get(),
                 "{\"label\":\"%s\",\"function\":\"%s\",\"threadgroups\":[%u,%u,%u],"
                 "\"threads\":%u}\n",
                 label.c_str(), gpu::function_name(dispatch).c_str(), x, y, z, i * j * k);
    std::fflush(launches_.get());
  }

  void write_time(const std::vector<Dispatch>& dispatches, const std::string& label) {
    if (!copy_speed_written_) {
      std::fprintf(times_.get(), "{\"gpu\":\"%s\",\"copyGigabytesPerSecond\":%.1f}\n",
                   gpu_->name().c_str(), gpu_->copy_speed());
      copy_speed_written_ = true;
    }
    const gpu::Timing timing = gpu_->time(dispatches);
    std::fprintf(times_.get(),
                 "{\"label\":\"%s\",\"dispatches\":%zu,\"microseconds\":%.3f,\"least\":%.3f,"
                 "\"copies\":%u}\n",
                 label.c_str(), dispatches.size(), timing.microseconds, timing.least,
                 timing.copies);
    std::fflush(times_.get());
  }

  metal::Limits limits_;
  File pipelines_, launches_, times_, lock_;
  bool poison_;
  bool copy_speed_written_ = false;
  std::set<std::string> known_pipelines_;
  std::unique_ptr<gpu::Gpu> gpu_;
  std::unordered_map<const CommandList*, Cached> programs_;
  std::mutex labels_mutex_;
  std::unordered_map<const CommandList*, std::string> labels_;
  std::unique_ptr<RunQueue> queue_;
};

}  // namespace

// native/create_device.cpp for this addon.
std::vector<std::string> device_names() { return {"metal", "cpu"}; }

std::vector<Tunable> tunables() { return metal::tunables(); }

std::unique_ptr<Device> create_device(const std::string& name, unsigned threads,
                                      const TuningValues& tuning, double) {
  if (name == "metal")
    return std::make_unique<GpuDevice>(metal::tuned(metal::kNvidiaTuning, tuning));
  if (name == "cpu") return create_cpu_device(threads);
  throw std::invalid_argument("no device '" + name + "'");
}

std::vector<KernelText> kernel_texts(const CommandList& list) {
  return metal::kernel_texts(list, {});
}

}  // namespace ssm
