// What one environment (the main thread or a worker) owns, and how the ends of what it started come
// back to it. Everything here runs on its JavaScript thread, except what `end_of` gives.
#pragma once

#include <napi.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "native/device.h"
#include "native/handle_table.h"
#include "native/read_bandwidth.h"

namespace ssm {

// Destroyed when the environment ends: at process exit, after an uncaught exception, when a worker
// is terminated.
class Environment {
 public:
  // Something that was started and has not been reported.
  struct Pending {
    Napi::FunctionReference callback;             // (status, failure, outputs or result)
    std::shared_ptr<Run> run = nullptr;           // of a run
    std::shared_ptr<CommandList> list = nullptr;  // of a run
    std::unique_ptr<BandwidthMeasurement> measurement = nullptr;
  };
  // `result`: of a measurement.
  using End = std::function<void(RunEnd, double result)>;

  explicit Environment(Napi::Env env);
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  HandleTable<Memory>& memories() { return memories_; }
  HandleTable<CommandList>& lists() { return lists_; }
  HandleTable<Device>& devices() { return devices_; }

  // The number of what is started next.
  int64_t next_id() { return next_id_++; }
  // To be called once, on any thread, when it has ended.
  End end_of(int64_t id) const;
  // From now on that end calls back, and keeps the process alive until then.
  void expect(int64_t id, Pending pending);
  // Of a run that has ended nothing happens.
  void cancel(int64_t id);

 private:
  struct Completion {
    int64_t id;
    RunEnd end;
    double result;
  };
  static void complete(napi_env env, napi_value, void* context, void* data);
  void report(const Pending& pending, const Completion& completion) const;
  napi_status failure_for(const RunEnd& end, napi_value* result) const;

  Napi::Env env_;
  napi_threadsafe_function completions_ = nullptr;
  HandleTable<Memory> memories_{"memory"};
  HandleTable<CommandList> lists_{"command list"};
  HandleTable<Device> devices_{"device"};
  std::map<int64_t, Pending> pending_;
  int64_t next_id_ = 1;
};

}  // namespace ssm
