// The CPU device: a queue of runs and one thread that takes them in order. That thread leads a
// pool, which shares the loops of an operation.
#include <new>
#include <stdexcept>

#include "native/cpu/levels.h"
#include "native/cpu/operations.h"
#include "native/device.h"
#include "native/run_queue.h"

namespace ssm {

namespace {

class CpuDevice final : public Device {
 public:
  CpuDevice(unsigned threads, const cpu::Level& level)
      : level_(level),
        pool_(threads),
        queue_([this](const auto& run) { run->on_complete(execute(*run)); }) {}

  unsigned threads() const override { return pool_.threads(); }
  const char* level() const override { return level_.name; }

  void submit(std::shared_ptr<Run> run) override { queue_.push(std::move(run)); }

 private:
  // Runs on the queue's thread.
  RunEnd execute(const Run& run) {
    pool_.watch(&run.cancelled);
    begin_run(run);
    const char* name = "";
    try {
      for (const Operation& operation : run.list->operations()) {
        if (run.cancelled) return RunEnd::cancel();
        name = operation.info().api_name;
        const cpu::FastFunction fast = cpu::fast_function(operation.kind);
        if (level_.kernels != nullptr && fast != nullptr) {
          fast(operation, pool_, *level_.kernels);
        } else {
          cpu::plain_function(operation.kind)(operation, pool_);
        }
      }
    } catch (const Cancelled&) {
      return RunEnd::cancel();
    } catch (const std::bad_alloc&) {
      return {RunStatus::device_failed, "[" + std::string(name) + "] not enough memory", {}};
    } catch (const std::exception& error) {
      return RunEnd::failure(error.what());
    }
    return end_run(run);
  }

  const cpu::Level level_;
  ThreadPool pool_;
  RunQueue queue_;  // last: its thread uses everything above
};

}  // namespace

std::unique_ptr<Device> create_cpu_device(unsigned threads, const std::string& level) {
  if (threads == 0) throw std::invalid_argument("threads must be at least 1");
  return std::make_unique<CpuDevice>(threads, cpu::choose_level(level));
}

}  // namespace ssm
