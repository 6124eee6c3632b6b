// Devices: which there are, making them, and what they say of themselves and of a list.
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "native/addon/exports.h"
#include "native/addon/values.h"
#include "native/cpu/levels.h"
#include "native/device.h"

namespace ssm {

namespace {

using Napi::CallbackInfo;
using Napi::Value;

constexpr double kLongestTimeout = 86'400;  // seconds

// () -> string[], the fastest first
Value names(Environment&, const CallbackInfo& info) {
  return array_of(info, device_names(), [](const std::string& name) { return name; });
}

// () -> string[], the slowest first
Value cpu_levels(Environment&, const CallbackInfo& info) {
  return array_of(info, cpu::available_levels(),
                  [](const cpu::Level& level) { return level.name; });
}

// () -> { name, meaning, least, most, candidates }[]
Value all_tunables(Environment&, const CallbackInfo& info) {
  return array_of(info, tunables(), [&](const Tunable& tunable) {
    Napi::Object object = Napi::Object::New(info.Env());
    object.Set("name", tunable.name);
    object.Set("meaning", tunable.meaning);
    object.Set("least", tunable.least);
    object.Set("most", tunable.most);
    object.Set("candidates",
               array_of(info, tunable.candidates, [](uint32_t value) { return value; }));
    return object;
  });
}

TuningValues tuning_from(const Value& given) {
  if (!given.IsArray()) throw std::invalid_argument("tuning must be an array");
  const Napi::Array pairs = given.As<Napi::Array>();
  TuningValues tuning;
  for (uint32_t i = 0; i + 1 < pairs.Length(); i += 2) {
    const Value tunable = pairs.Get(i), value = pairs.Get(i + 1);
    if (!tunable.IsString() || !value.IsNumber()) {
      throw std::invalid_argument("tuning must be names, each with a number");
    }
    tuning.emplace_back(tunable.As<Napi::String>().Utf8Value(),
                        value.As<Napi::Number>().Int64Value());
  }
  return tuning;
}

// (name, threads, [name, value, ...] of the tuning, timeout in seconds) -> device
Value create(Environment& environment, const CallbackInfo& info) {
  const std::string name = info[0].As<Napi::String>().Utf8Value();
  const auto threads = static_cast<unsigned>(size(info, 1));
  const TuningValues tuning = tuning_from(info[2]);
  if (!info[3].IsNumber()) throw std::invalid_argument("timeout must be a number");
  const double timeout = info[3].As<Napi::Number>().DoubleValue();
  if (!(timeout > 0 && timeout <= kLongestTimeout)) {
    throw std::invalid_argument("timeout must be above 0 and at most a day, in seconds");
  }
  try {
    // In every build, whatever other devices it has.
    auto device = name == "cpu-reference" ? create_cpu_device(threads, "reference")
                                          : create_device(name, threads, tuning, timeout);
    return handle(info, environment.devices().add(std::move(device)));
  } catch (const std::system_error& error) {
    throw_if_no_more_threads(info, error);
    throw;
  }
}

const std::shared_ptr<Device>& device_of(Environment& environment, const CallbackInfo& info) {
  return environment.devices().get(integer(info, 0));
}

// (device) -> number
Value threads(Environment& environment, const CallbackInfo& info) {
  return number(info, device_of(environment, info)->threads());
}

// (device) -> string, or undefined
Value level(Environment& environment, const CallbackInfo& info) {
  return text(info, device_of(environment, info)->level());
}

// (device) -> string, or undefined
Value gpu(Environment& environment, const CallbackInfo& info) {
  return text(info, device_of(environment, info)->gpu());
}

// (device) -> number[] in the order of tunables; empty for the CPU device
Value tuning(Environment& environment, const CallbackInfo& info) {
  return array_of(info, device_of(environment, info)->tuning(),
                  [](const auto& named) { return static_cast<double>(named.second); });
}

// (device) -> [budget, in use, largest buffer] in bytes; empty for the CPU device
Value memory(Environment& environment, const CallbackInfo& info) {
  const DeviceMemory memory = device_of(environment, info)->memory();
  std::vector<uint64_t> bytes;
  if (memory.budget != 0) bytes = {memory.budget, memory.in_use, memory.largest_buffer};
  return array_of(info, bytes, [](uint64_t value) { return static_cast<double>(value); });
}

// (device): cancels what the device was asked to run, waits for its threads
Value dispose(Environment& environment, const CallbackInfo& info) {
  environment.devices().remove(integer(info, 0));
  return info.Env().Undefined();
}

// (device, memory) -> bytes that the device needs for it
Value footprint(Environment& environment, const CallbackInfo& info) {
  const Memory& memory = *environment.memories().get(integer(info, 1));
  return number(info, static_cast<double>(device_of(environment, info)->footprint(memory)));
}

// (device, list) -> what the device dispatches for the list
Value dispatches(Environment& environment, const CallbackInfo& info) {
  const CommandList& list = *environment.lists().get(integer(info, 1));
  return text(info, device_of(environment, info)->dispatches(list));
}

// (device, list) -> bytes that the device allocates for the list itself
Value scratch(Environment& environment, const CallbackInfo& info) {
  const CommandList& list = *environment.lists().get(integer(info, 1));
  return number(info, static_cast<double>(device_of(environment, info)->scratch(list)));
}

}  // namespace

std::span<const Export> device_exports() {
  static constexpr Export kExports[] = {
      {"deviceNames", names},     {"cpuLevels", cpu_levels},      {"tunables", all_tunables},
      {"createDevice", create},   {"deviceThreads", threads},     {"deviceLevel", level},
      {"deviceGpu", gpu},         {"deviceTuning", tuning},       {"deviceMemory", memory},
      {"disposeDevice", dispose}, {"memoryFootprint", footprint}, {"listDispatches", dispatches},
      {"listScratch", scratch},
  };
  return kExports;
}

}  // namespace ssm
