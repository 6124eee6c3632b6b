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
  std::optional<std::string> level() const override { return level_.name; }

  void submit(std::shared_ptr<Run> run) override { queue_.push(std::move(run)); }

 private:
  // Runs on the queue's thread.
  RunEnd execute(const Run& run) {
    pool_.watch(&run.cancelled);
    begin_run(run);
    const auto& operations = run.list->operations();
    size_t index = 0;
    try {
      for (; index < operations.size(); ++index) {
        if (run.cancelled) return RunEnd::cancel();
        compute(operations[index]);
      }
    } catch (const Cancelled&) {
      return RunEnd::cancel();
    } catch (const std::bad_alloc&) {
      const std::string name = operations[index].info().api_name;
      return RunEnd::fail({.message = "[" + name + "] not enough memory",
                           .reason = FailureReason::out_of_memory,
                           .operation = index},
                          RunStatus::device_failed);
    } catch (const std::exception&) {
      Failure failure = caught_failure();
      failure.operation = index;
      return RunEnd::fail(std::move(failure));
    }
    return end_run(run);
  }

  void compute(const Operation& operation) {
    const cpu::FastFunction fast = cpu::fast_function(operation.kind);
    if (level_.kernels != nullptr && fast != nullptr) {
      fast(operation, pool_, *level_.kernels);
    } else {
      cpu::plain_function(operation.kind)(operation, pool_);
    }
  }

  const cpu::Level level_;
  ThreadPool pool_;
  RunQueue queue_;  // last: its thread uses everything above
};

}  // namespace

std::unique_ptr<Device> create_cpu_device(unsigned threads,
                                          const std::optional<std::string>& level) {
  if (threads == 0) throw std::invalid_argument("threads must be at least 1");
  return std::make_unique<CpuDevice>(threads, cpu::choose_level(level));
}

}  // namespace ssm
