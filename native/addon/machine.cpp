// What the machine can do: its memory, and how fast that is read.
#include <memory>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "native/addon/exports.h"
#include "native/addon/values.h"
#include "native/available_memory.h"
#include "native/read_bandwidth.h"

namespace ssm {

namespace {

using Napi::CallbackInfo;
using Napi::Value;

// (threads, bytes, callback(status, failure, bytesPerSecond)). Returns at once.
Value measure_read_bandwidth(Environment& environment, const CallbackInfo& info) {
  const size_t threads = size(info, 0);
  if (threads < 1 || threads > 1024) throw std::invalid_argument("threads must be 1 to 1024");
  const size_t buffer = size(info, 1);
  const int64_t id = environment.next_id();
  Environment::Pending pending{.callback = callback(info, 2)};
  const auto on_complete = [end_of = environment.end_of(id)](double result,
                                                             std::optional<Failure> failure) {
    end_of(failure ? RunEnd::fail(*std::move(failure)) : RunEnd{}, result);
  };
  // Before anything waits for it: it throws when the system starts no more threads.
  try {
    pending.measurement =
        std::make_unique<BandwidthMeasurement>(static_cast<unsigned>(threads), buffer, on_complete);
  } catch (const std::system_error& error) {
    throw_if_no_more_threads(info, error);
    throw;
  }
  environment.expect(id, std::move(pending));
  return info.Env().Undefined();
}

// () -> bytes; 0 where the system has files that say so
Value memory_available(Environment&, const CallbackInfo& info) {
  return number(info, static_cast<double>(available_memory()));
}

}  // namespace

std::span<const Export> machine_exports() {
  static constexpr Export kExports[] = {
      {"measureReadBandwidth", measure_read_bandwidth},
      {"availableMemory", memory_available},
  };
  return kExports;
}

}  // namespace ssm
