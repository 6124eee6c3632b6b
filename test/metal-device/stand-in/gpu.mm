// Two threads: one plays the GPU and takes committed command buffers in order, the other tells of
// their completion, as Metal does on a thread of its own.
#include <algorithm>
#include <chrono>
#include <deque>
#include <thread>

#include "objects.h"

namespace metal_stand_in {

// command_queue.mm. Takes over the error, nil when there is none.
void complete(id command_buffer, id error);

namespace {

using Clock = std::chrono::steady_clock;

void wait_while(const std::atomic<uint64_t> &number, uint64_t value) {
  while (number == value) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

Error command_buffer_error(CommandBufferError code, const char *text) {
  return {kCommandBufferErrors, code, text};
}

// What a command buffer ends with; an empty text is success. The texts are those of macOS.
Error run(const CommandBuffer &buffer) {
  Controls &c = controls();
  const auto compute = [&] {
    return execute(buffer.commands, *state<Queue>(buffer.queue).options);
  };
  if (must_fail(c.spare)) return {kCommandBufferErrors, kInternal, compute()};
  if (c.lose_device != 0) {
    return command_buffer_error(kAccessRevoked,
                                "Ignored (for causing prior/excessive GPU errors) "
                                "(00000004:kIOGPUCommandBufferCallbackErrorSubmissionsIgnored)");
  }
  if (must_fail(c.hang)) {
    wait_while(c.end_hang, 0);
    return command_buffer_error(
        kTimeout, "Caused GPU Hang Error (00000003:kIOGPUCommandBufferCallbackErrorHang)");
  }
  if (must_fail(c.time_out)) {
    return command_buffer_error(
        kTimeout, "Caused GPU Timeout Error (00000002:kIOGPUCommandBufferCallbackErrorTimeout)");
  }
  if (must_fail(c.run_out_of_memory)) {
    return command_buffer_error(
        kOutOfMemory, "Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)");
  }
  if (must_fail(c.fail_in_another_domain)) {
    // ENOEXEC, which has the number of Metal's OutOfMemory.
    return {kSystemErrors, kOutOfMemory, "The operation couldn't be completed. Exec format error"};
  }
  if (must_fail(c.fail_command_buffers)) {
    return command_buffer_error(kPageFault, "Caused GPU Address Fault Error "
                                            "(0000000b:kIOGPUCommandBufferCallbackErrorPageFault)");
  }
  const std::string wrong = compute();
  if (wrong.empty() && must_fail(c.fail_late)) {
    return command_buffer_error(
        kInternal, "Internal Error (0000000e:kIOGPUCommandBufferCallbackErrorInternal)");
  }
  return {kCommandBufferErrors, kInternal, wrong};
}

struct Completion {
  id command_buffer;  // with a reference
  id error;           // the same, or nil
  Clock::time_point time;
};

// Its thread tells of completions in the order in which they came.
class CompletionThread {
 public:
  CompletionThread() {
    std::thread([this] { work(); }).detach();
  }

  void push(Completion completion) {
    const std::lock_guard lock(mutex_);
    queue_.push_back(completion);
    wake_.notify_one();
  }

 private:
  // The next ones to tell of: more than one when they must be told in reverse.
  std::vector<Completion> take() {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] {
      return !queue_.empty() && queue_.size() >= controls().reverse_completions;
    });
    const size_t count = std::max<size_t>(controls().reverse_completions.exchange(0), 1);
    std::vector<Completion> taken(queue_.begin(), queue_.begin() + static_cast<long>(count));
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<long>(count));
    std::reverse(taken.begin(), taken.end());
    return taken;
  }

  [[noreturn]] void work() {
    while (true) {
      for (const auto &[command_buffer, error, time] : take()) {
        std::this_thread::sleep_until(time);
        @autoreleasepool {
          complete(command_buffer, error);
          objc_release(command_buffer);
        }
      }
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Completion> queue_;
};

class GpuThread {
 public:
  GpuThread() {
    std::thread([this] { work(); }).detach();
  }

  void push(id command_buffer) {
    const std::lock_guard lock(mutex_);
    queue_.push_back(command_buffer);
    wake_.notify_one();
  }

 private:
  [[noreturn]] void work() {
    while (true) {
      std::unique_lock lock(mutex_);
      const bool waited = queue_.empty();
      wake_.wait(lock, [this] { return !queue_.empty(); });
      if (waited) controls().gpu_waits += 1;
      const id next = queue_.front();
      queue_.pop_front();
      lock.unlock();
      const auto least = std::chrono::milliseconds(controls().least_gpu_time);
      const auto begin = Clock::now();
      id error = nil;
      @autoreleasepool {
        const Error wrong = run(state<CommandBuffer>(next));
        if (!wrong.text.empty()) error = make_error(wrong);
      }
      std::this_thread::sleep_until(begin + least);
      const auto delay = std::chrono::milliseconds(controls().completion_delay);
      completions_.push({next, error, Clock::now() + delay});
    }
  }

  CompletionThread completions_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<id> queue_;
};

}  // namespace

void push_to_gpu(id command_buffer) {
  static auto *gpu = new GpuThread;  // never destroyed: its threads end with the process
  gpu->push(command_buffer);
}

}  // namespace metal_stand_in
