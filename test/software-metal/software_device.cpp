// The device of the rig: lists become programs by the same code as on a Mac (native/metal/), and
// runtime.cpp executes the kernels' own text. A queue of runs and one thread that takes them in
// order. What it does beyond that is told by the environment; README.md lists the variables.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <stdexcept>

#include "bad_data.h"
#include "device.h"
#include "guarded_memory.h"
#include "program.h"
#include "run_queue.h"
#include "runtime.h"

namespace ssm {

namespace {

using metal::Dispatch;
using metal::Program;
using software_metal::Schedule;

// What is kept with a list.
struct CompiledProgram final : CompiledList {
  CompiledProgram(const CommandList& list, const metal::Limits& limits)
      : program(metal::make_program(list, limits, &Memory::allocate)) {}
  Program program;
};

const char* environment(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? otherwise : value;
}

class SoftwareDevice final : public Device {
 public:
  explicit SoftwareDevice(const metal::Tuning& tuning) {
    limits_.tuning = tuning;
    std::istringstream schedules(environment("SSM_SOFTWARE_METAL_SCHEDULES", "forward"));
    for (std::string text; std::getline(schedules, text, ',');) {
      schedules_.push_back(software_metal::parse_schedule(text));
    }
    const char* kernels = environment("SSM_SOFTWARE_METAL_KERNELS", nullptr);
    if (kernels != nullptr) software_metal::load_kernels(kernels);
    const char* trace = environment("SSM_SOFTWARE_METAL_TRACE", nullptr);
    if (trace != nullptr) {
      trace_ = std::fopen(trace, "a");
      if (trace_ == nullptr) throw std::runtime_error(std::string("cannot write ") + trace);
    }
    queue_ =
        std::make_unique<RunQueue>([this](const auto& run) { run->on_complete(execute(*run)); });
  }

  ~SoftwareDevice() override {
    queue_.reset();  // its thread writes the trace
    if (trace_ != nullptr) std::fclose(trace_);
  }

  unsigned threads() const override { return 1; }
  std::string gpu() const override { return "software"; }
  const metal::Tuning* tuning() const override { return &limits_.tuning; }
  std::string dispatches(const CommandList& list) const override {
    return metal::describe(list, limits_);
  }

  void submit(std::shared_ptr<Run> run) override { queue_->push(std::move(run)); }

 private:
  // Runs on the queue's thread, as does everything below.
  RunEnd execute(const Run& run) {
    begin_run(run);
    try {
      for (const Dispatch& dispatch : program_of(*run.list).dispatches()) {
        if (run.cancelled) return RunEnd::cancel();
        execute(dispatch);
      }
      metal::throw_on_bad_data(*run.list);
    } catch (const std::exception& error) {
      return RunEnd::failure(error.what());
    }
    if (trace_ != nullptr) {
      const auto count = static_cast<unsigned long long>(software_metal::allocations());
      std::fprintf(trace_, "{\"endOfRun\":true,\"allocations\":%llu}\n", count);
      std::fflush(trace_);
    }
    return end_run(run);
  }

  // Turns a list into dispatches at its first run.
  const Program& program_of(const CommandList& list) {
    if (!list.compiled) list.compiled = std::make_unique<CompiledProgram>(list, limits_);
    return static_cast<CompiledProgram&>(*list.compiled).program;
  }

  // Runs a dispatch under every schedule from the same bytes, and compares what they write.
  void execute(const Dispatch& dispatch) {
    std::vector<std::vector<std::byte>> before, first;
    if (schedules_.size() > 1) before = written_bytes(dispatch);
    for (size_t i = 0; i < schedules_.size(); ++i) {
      if (i > 0) restore(dispatch, before);
      const auto traffic = software_metal::execute(dispatch, schedules_[i]);
      if (i == 0 && trace_ != nullptr) write_trace(dispatch, traffic);
      if (schedules_.size() == 1) continue;
      auto after = written_bytes(dispatch);
      if (i == 0) {
        first = std::move(after);
      } else if (after != first) {
        throw std::runtime_error("kernel " + dispatch.kernel +
                                 ": SCHEDULES DISAGREE: another order of threads gives other bits");
      }
    }
  }

  static std::vector<std::vector<std::byte>> written_bytes(const Dispatch& dispatch) {
    std::vector<std::vector<std::byte>> result;
    for (const auto& [index, binding, written] : dispatch.buffers) {
      if (!written) continue;
      const std::byte* begin = binding.memory->data() + binding.offset;
      result.emplace_back(begin, begin + binding.bytes);
    }
    return result;
  }

  static void restore(const Dispatch& dispatch, const std::vector<std::vector<std::byte>>& bytes) {
    size_t next = 0;
    for (const auto& [index, binding, written] : dispatch.buffers) {
      if (!written) continue;
      std::memcpy(binding.memory->data() + binding.offset, bytes[next].data(), binding.bytes);
      ++next;
    }
  }

  // One line of JSON for each dispatch.
  void write_trace(const Dispatch& dispatch, const std::vector<software_metal::Traffic>& traffic) {
    const auto& [x, y, z] = dispatch.threadgroups;
    const auto& [i, j, k] = dispatch.threads;
    std::fprintf(trace_,
                 "{\"kernel\":\"%s\",\"threadgroups\":[%u,%u,%u],\"threads\":[%u,%u,%u],"
                 "\"barrier\":%s,\"buffers\":[",
                 dispatch.kernel.c_str(), x, y, z, i, j, k, dispatch.barrier ? "true" : "false");
    const char* separator = "";
    for (const auto& buffer : traffic) {
      if (buffer.is_threadgroup) continue;
      std::fprintf(trace_,
                   "%s{\"index\":%u,\"read\":%llu,\"distinctRead\":%llu,\"written\":%llu,"
                   "\"distinctWritten\":%llu}",
                   separator, buffer.index, static_cast<unsigned long long>(buffer.read),
                   static_cast<unsigned long long>(buffer.distinct_read),
                   static_cast<unsigned long long>(buffer.written),
                   static_cast<unsigned long long>(buffer.distinct_written));
      separator = ",";
    }
    std::fputs("],\"threadgroupMemory\":[", trace_);
    separator = "";
    for (const auto& memory : traffic) {
      if (!memory.is_threadgroup) continue;
      std::fprintf(trace_, "%s{\"index\":%u,\"read\":%llu,\"written\":%llu}", separator,
                   memory.index, static_cast<unsigned long long>(memory.read),
                   static_cast<unsigned long long>(memory.written));
      separator = ",";
    }
    std::fputs("]}\n", trace_);
    std::fflush(trace_);
  }

  metal::Limits limits_;
  std::vector<Schedule> schedules_;
  std::FILE* trace_ = nullptr;
  std::unique_ptr<RunQueue> queue_;
};

}  // namespace

// native/create_device.cpp for the rig.
std::vector<std::string> device_names() { return {"metal", "cpu"}; }

std::unique_ptr<Device> create_device(const std::string& name, unsigned threads,
                                      const metal::TuningChanges& tuning, double) {
  if (name == "metal")
    return std::make_unique<SoftwareDevice>(metal::tuned(metal::kAppleTuning, tuning));
  if (name == "cpu") return create_cpu_device(threads);
  throw std::invalid_argument("no device '" + name + "'");
}

}  // namespace ssm
