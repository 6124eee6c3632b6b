// Running lists, making them ready, and cancelling runs.
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "native/addon/exports.h"
#include "native/addon/mixture.h"
#include "native/addon/values.h"
#include "native/device.h"
#include "native/run_block.h"

namespace ssm {

namespace {

using Napi::CallbackInfo;
using Napi::Value;

// Throws unless a run has the bytes that its list uses, and no more than there may be.
void check_block(const char* what, size_t bytes, size_t least, size_t most) {
  if (bytes >= least && bytes <= most) return;
  throw std::out_of_range("[run] the " + std::string(what) + " of this list take " +
                          std::to_string(least) + " to " + std::to_string(most) +
                          " bytes but are " + std::to_string(bytes));
}

// (device, list, callback(status, failure)). Returns at once.
Value prepare(Environment& environment, const CallbackInfo& info) {
  const auto& device = environment.devices().get(integer(info, 0));
  const auto& list = environment.lists().get(integer(info, 1));
  const int64_t id = environment.next_id();
  environment.expect(id, {.callback = callback(info, 2)});
  list->seal();
  device->prepare(list,
                  [end_of = environment.end_of(id)](RunEnd end) { end_of(std::move(end), 0); });
  return info.Env().Undefined();
}

// (device, list, inputs, outputBytes, callback(status, failure, outputs)) -> run. Returns at once.
Value run(Environment& environment, const CallbackInfo& info) {
  const auto& device = environment.devices().get(integer(info, 0));
  const auto& list = environment.lists().get(integer(info, 1));
  if (list->is_planned()) throw std::logic_error("the list uses memory that was only planned");
  const Napi::Uint8Array inputs = bytes(info, 2);
  auto run = std::make_shared<Run>();
  run->list = list;
  run->output_bytes = size(info, 3);
  check_block("inputs", inputs.ByteLength(), list->input_bytes(), kMostInputBytes);
  check_block("outputs", run->output_bytes, list->output_bytes(), kMostOutputBytes);
  if (inputs.ByteLength() > 0) {
    const auto* begin = reinterpret_cast<const std::byte*>(inputs.Data());
    run->inputs.assign(begin, begin + inputs.ByteLength());
  }
  if (list->reads_a_mixture()) throw std::runtime_error("[run] " + std::string(kMixture));
  const int64_t id = environment.next_id();
  run->on_complete = [end_of = environment.end_of(id)](RunEnd end) { end_of(std::move(end), 0); };
  environment.expect(id, {.callback = callback(info, 4), .run = run, .list = list});
  list->mark_submitted();
  device->submit(std::move(run));
  return handle(info, id);
}

// (run): a run that has ended is not an error.
Value cancel(Environment& environment, const CallbackInfo& info) {
  environment.cancel(integer(info, 0));
  return info.Env().Undefined();
}

}  // namespace

std::span<const Export> run_exports() {
  static constexpr Export kExports[] = {{"prepare", prepare}, {"run", run}, {"cancel", cancel}};
  return kExports;
}

}  // namespace ssm
