// The CPU device: a queue of runs and one thread that takes them in order. That thread leads a
// pool, which shares the loops of an operation.
#include <condition_variable>
#include <deque>
#include <mutex>
#include <new>
#include <stdexcept>
#include <thread>

#include "device.h"
#include "operations.h"

namespace ssm {

namespace {

using Function = void (*)(const Operation&, ThreadPool&);

// Indexed by OperationKind.
constexpr Function kFunctions[] = {
#define SSM_FUNCTION(name, Params, buffers, written) cpu::name,
    SSM_OPERATIONS(SSM_FUNCTION)
#undef SSM_FUNCTION
};

class CpuDevice final : public Device {
 public:
  explicit CpuDevice(unsigned threads) : pool_(threads), thread_([this] { work(); }) {}

  ~CpuDevice() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
      if (current_) current_->cancelled = true;
      for (auto& run : queue_) run->cancelled = true;
    }
    wake_.notify_one();
    thread_.join();
  }

  const char* name() const override { return "cpu"; }
  unsigned threads() const override { return pool_.threads(); }

  void submit(std::shared_ptr<Run> run) override {
    {
      std::lock_guard lock(mutex_);
      queue_.push_back(std::move(run));
    }
    wake_.notify_one();
  }

 private:
  // Runs on the device's thread.
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;  // stopping, and everything queued was reported
      current_ = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      std::string error = execute(*current_);
      current_->on_complete(std::move(error));
      lock.lock();
      current_.reset();
    }
  }

  std::string execute(const Run& run) {
    pool_.watch(&run.cancelled);
    const char* name = "";
    try {
      for (const Operation& operation : run.list->operations()) {
        if (run.cancelled) return kCancelled;
        name = info_of(operation.kind).name;
        kFunctions[static_cast<size_t>(operation.kind)](operation, pool_);
      }
    } catch (const Cancelled&) {
      return kCancelled;
    } catch (const std::bad_alloc&) {
      return "[" + std::string(name) + "] not enough memory";
    } catch (const std::exception& error) {
      return error.what();
    }
    return "";
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Run>> queue_;
  std::shared_ptr<Run> current_;
  bool stopping_ = false;
  ThreadPool pool_;
  std::thread thread_;  // last: it starts when everything above exists
};

}  // namespace

std::unique_ptr<Device> create_cpu_device(unsigned threads) {
  if (threads == 0) threads = std::max(1u, std::thread::hardware_concurrency());
  return std::make_unique<CpuDevice>(threads);
}

}  // namespace ssm
