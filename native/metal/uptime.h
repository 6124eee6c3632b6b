// A clock that stands still while the system sleeps.
#pragma once

#include <time.h>

namespace ssm::metal {

// Seconds since some moment in the past.
inline double uptime() {
#ifdef __APPLE__
  constexpr clockid_t kClock = CLOCK_UPTIME_RAW;
#else
  constexpr clockid_t kClock = CLOCK_MONOTONIC;
#endif
  timespec now = {};
  clock_gettime(kClock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

}  // namespace ssm::metal
