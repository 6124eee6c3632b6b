// How fast threads together read memory that no cache holds: what the speed of decoding is compared
// with.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <optional>
#include <thread>

#include "native/failure.h"

namespace ssm {

// One measurement on a thread of its own, which starts at once.
class BandwidthMeasurement {
 public:
  // Bytes a second, or why there is no such number. Called once, on the measurement's thread.
  using OnComplete = std::function<void(double bytes_per_second, std::optional<Failure>)>;

  // `bytes` is the size of the buffer that the threads divide among them: several times the caches.
  BandwidthMeasurement(unsigned threads, size_t bytes, OnComplete on_complete);
  ~BandwidthMeasurement();  // cancels, and joins the thread

 private:
  std::atomic<bool> cancelled_{false};
  std::thread thread_;
};

}  // namespace ssm
