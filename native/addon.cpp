// The Node-API surface: unwrap arguments, call, wrap results. lib/addon/contract.ts states the
// contract. Everything in this file runs on the JavaScript thread of its environment (the main
// thread or a worker), except the body of Run::on_complete.
#include <napi.h>

#include <map>
#include <optional>
#include <string>
#include <system_error>

#include "native/available_memory.h"
#include "native/cpu/levels.h"
#include "native/device.h"
#include "native/handle_table.h"
#include "native/read_bandwidth.h"
#include "native/run_block.h"

namespace ssm {

namespace {

constexpr const char* kMixture =
    "a run that the device did not end may have left this memory half written: write all of it "
    "before it is read again";

constexpr double kLongestTimeout = 86'400;  // seconds

using Napi::CallbackInfo;
using Napi::Value;

int64_t integer(const CallbackInfo& info, size_t i) {
  if (!info[i].IsNumber()) throw std::invalid_argument("argument must be a number");
  return info[i].As<Napi::Number>().Int64Value();
}

size_t size(const CallbackInfo& info, size_t i) {
  const int64_t value = integer(info, i);
  if (value < 0) throw std::invalid_argument("argument must not be negative");
  return static_cast<size_t>(value);
}

Napi::Uint8Array bytes(const CallbackInfo& info, size_t i) {
  if (!info[i].IsTypedArray() ||
      info[i].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    throw std::invalid_argument("argument must be a Uint8Array");
  }
  return info[i].As<Napi::Uint8Array>();
}

// What one environment owns. Destroyed when the environment ends: at process exit, after an
// uncaught exception, when a worker is terminated.
class Addon : public Napi::Addon<Addon> {
 public:
  Addon(Napi::Env env, Napi::Object exports) : env_(env) {
    DefineAddon(exports, {
                             InstanceMethod("operations", &Addon::Operations),
                             InstanceMethod("deviceNames", &Addon::DeviceNames),
                             InstanceMethod("cpuLevels", &Addon::CpuLevels),
                             InstanceMethod("tunables", &Addon::Tunables),
                             InstanceMethod("createDevice", &Addon::CreateDevice),
                             InstanceMethod("deviceThreads", &Addon::DeviceThreads),
                             InstanceMethod("deviceLevel", &Addon::DeviceLevel),
                             InstanceMethod("deviceGpu", &Addon::DeviceGpu),
                             InstanceMethod("deviceTuning", &Addon::DeviceTuning),
                             InstanceMethod("deviceMemory", &Addon::GetDeviceMemory),
                             InstanceMethod("disposeDevice", &Addon::DisposeDevice),
                             InstanceMethod("allocate", &Addon::Allocate),
                             InstanceMethod("mapFile", &Addon::MapFile),
                             InstanceMethod("planMemory", &Addon::PlanMemory),
                             InstanceMethod("memorySize", &Addon::MemorySize),
                             InstanceMethod("memoryFootprint", &Addon::MemoryFootprint),
                             InstanceMethod("readMemory", &Addon::ReadMemory),
                             InstanceMethod("writeMemory", &Addon::WriteMemory),
                             InstanceMethod("letGoOfMemory", &Addon::LetGoOfMemory),
                             InstanceMethod("disposeMemory", &Addon::DisposeMemory),
                             InstanceMethod("createList", &Addon::CreateList),
                             InstanceMethod("listBlock", &Addon::ListBlock),
                             InstanceMethod("record", &Addon::Record),
                             InstanceMethod("disposeList", &Addon::DisposeList),
                             InstanceMethod("listDispatches", &Addon::ListDispatches),
                             InstanceMethod("kernelTexts", &Addon::KernelTexts),
                             InstanceMethod("prepare", &Addon::Prepare),
                             InstanceMethod("listScratch", &Addon::ListScratch),
                             InstanceMethod("run", &Addon::RunList),
                             InstanceMethod("cancel", &Addon::Cancel),
                             InstanceMethod("measureReadBandwidth", &Addon::MeasureReadBandwidth),
                             InstanceMethod("availableMemory", &Addon::AvailableMemory),
                         });
    const napi_status status = napi_create_threadsafe_function(
        env, nullptr, nullptr, Napi::String::New(env, "ssm-metal"), 0, 1, nullptr, nullptr, this,
        &Addon::Complete, &completions_);
    if (status != napi_ok) throw std::runtime_error("cannot create a thread-safe function");
    napi_unref_threadsafe_function(env, completions_);
    // Hooks run in reverse order: this one, which joins our threads, before the one with which
    // Node closes the thread-safe function that they call.
    env.AddCleanupHook([this] {
      measurements_.clear();
      devices_.clear();
    });
  }

 private:
  struct Pending {
    std::shared_ptr<Run> run;           // null for a preparation and a measurement
    std::shared_ptr<CommandList> list;  // null for a preparation and a measurement
    Napi::FunctionReference callback;
  };
  struct Completion {
    int64_t run;
    RunEnd end;
    double result;  // of a measurement
  };

  // () -> { name, fields: { name, isFloat }[], buffers: { name, isWritten, isOptional }[] }[], in
  // the order of operation numbers
  Value Operations(const CallbackInfo& info) {
    const auto list = [&](const auto& all, const auto& describe) {
      Napi::Array result = Napi::Array::New(info.Env(), all.size());
      for (uint32_t i = 0; i < all.size(); ++i) {
        Napi::Object object = Napi::Object::New(info.Env());
        object.Set("name", all[i].name);
        describe(all[i], object);
        result.Set(i, object);
      }
      return result;
    };
    return list(operations(), [&](const OperationInfo& operation, Napi::Object& object) {
      object.Set("apiName", operation.api_name);
      object.Set("fields", list(operation.fields, [](const FieldInfo& field, Napi::Object& row) {
                   row.Set("isFloat", field.is_float);
                 }));
      object.Set("buffers",
                 list(operation.buffers, [](const BufferInfo& buffer, Napi::Object& row) {
                   row.Set("isWritten", is_written(buffer.access));
                   row.Set("isOptional", buffer.is_optional);
                 }));
    });
  }

  // () -> string[], the fastest first
  Value DeviceNames(const CallbackInfo& info) {
    const std::vector<std::string> names = device_names();
    Napi::Array result = Napi::Array::New(info.Env(), names.size());
    for (uint32_t i = 0; i < names.size(); ++i) result.Set(i, names[i]);
    return result;
  }

  // () -> string[], the slowest first
  Value CpuLevels(const CallbackInfo& info) {
    const std::vector<cpu::Level> levels = cpu::available_levels();
    Napi::Array result = Napi::Array::New(info.Env(), levels.size());
    for (uint32_t i = 0; i < levels.size(); ++i) result.Set(i, levels[i].name);
    return result;
  }

  // () -> { name, meaning, least, most, candidates }[]
  Value Tunables(const CallbackInfo& info) {
    const std::vector<Tunable> tunables = ssm::tunables();
    Napi::Array result = Napi::Array::New(info.Env(), tunables.size());
    for (uint32_t i = 0; i < tunables.size(); ++i) {
      const Tunable& tunable = tunables[i];
      Napi::Array candidates = Napi::Array::New(info.Env(), tunable.candidates.size());
      for (uint32_t j = 0; j < tunable.candidates.size(); ++j) {
        candidates.Set(j, tunable.candidates[j]);
      }
      Napi::Object object = Napi::Object::New(info.Env());
      object.Set("name", tunable.name);
      object.Set("meaning", tunable.meaning);
      object.Set("least", tunable.least);
      object.Set("most", tunable.most);
      object.Set("candidates", candidates);
      result.Set(i, object);
    }
    return result;
  }

  // (name, threads, [name, value, ...] of the tuning, timeout in seconds) -> device
  Value CreateDevice(const CallbackInfo& info) {
    const std::string name = info[0].As<Napi::String>().Utf8Value();
    const auto threads = static_cast<unsigned>(size(info, 1));
    if (!info[2].IsArray()) throw std::invalid_argument("tuning must be an array");
    const Napi::Array pairs = info[2].As<Napi::Array>();
    TuningValues tuning;
    for (uint32_t i = 0; i + 1 < pairs.Length(); i += 2) {
      const Value tunable = pairs.Get(i), value = pairs.Get(i + 1);
      if (!tunable.IsString() || !value.IsNumber()) {
        throw std::invalid_argument("tuning must be names, each with a number");
      }
      tuning.emplace_back(tunable.As<Napi::String>().Utf8Value(),
                          value.As<Napi::Number>().Int64Value());
    }
    if (!info[3].IsNumber()) throw std::invalid_argument("timeout must be a number");
    const double timeout = info[3].As<Napi::Number>().DoubleValue();
    if (!(timeout > 0 && timeout <= kLongestTimeout)) {
      throw std::invalid_argument("timeout must be above 0 and at most a day, in seconds");
    }
    try {
      // In every build, whatever other devices it has.
      if (name == "cpu-reference")
        return handle(devices_.add(create_cpu_device(threads, "reference")));
      return handle(devices_.add(create_device(name, threads, tuning, timeout)));
    } catch (const std::system_error& error) {
      throw_if_no_more_threads(error);
      throw;
    }
  }

  Value DeviceThreads(const CallbackInfo& info) {
    return Napi::Number::New(env_, devices_.get(integer(info, 0))->threads());
  }

  // (device) -> string, or undefined
  Value DeviceLevel(const CallbackInfo& info) {
    return text(devices_.get(integer(info, 0))->level());
  }

  // (device) -> string, or undefined
  Value DeviceGpu(const CallbackInfo& info) { return text(devices_.get(integer(info, 0))->gpu()); }

  // (device) -> number[] in the order of Tunables; empty for the CPU device
  Value DeviceTuning(const CallbackInfo& info) {
    Napi::Array result = Napi::Array::New(info.Env());
    for (const auto& [name, value] : devices_.get(integer(info, 0))->tuning()) {
      result.Set(result.Length(), static_cast<double>(value));
    }
    return result;
  }

  // (device) -> [budget, in use, largest buffer] in bytes; empty for the CPU device
  Value GetDeviceMemory(const CallbackInfo& info) {
    const DeviceMemory memory = devices_.get(integer(info, 0))->memory();
    Napi::Array result = Napi::Array::New(info.Env());
    if (memory.budget == 0) return result;
    for (const uint64_t bytes : {memory.budget, memory.in_use, memory.largest_buffer}) {
      result.Set(result.Length(), static_cast<double>(bytes));
    }
    return result;
  }

  // Cancels what the device was asked to run, waits for its threads.
  void DisposeDevice(const CallbackInfo& info) { devices_.remove(integer(info, 0)); }

  // (bytes, whether all of it will be written at once) -> memory, zeroed
  Value Allocate(const CallbackInfo& info) {
    const size_t bytes = size(info, 0);
    const bool is_whole = info[1].As<Napi::Boolean>().Value();
    auto memory = is_whole ? Memory::allocate_whole(bytes) : Memory::allocate(bytes);
    Napi::MemoryManagement::AdjustExternalMemory(env_, static_cast<int64_t>(memory->size()));
    return handle(memories_.add(std::move(memory)));
  }

  // (path, begin, bytes, largest part) -> memory, read-only
  Value MapFile(const CallbackInfo& info) {
    return handle(memories_.add(Memory::map_file(info[0].As<Napi::String>().Utf8Value(),
                                                 size(info, 1), size(info, 2), size(info, 3))));
  }

  // (bytes, is a mapped file, largest part) -> memory without bytes
  Value PlanMemory(const CallbackInfo& info) {
    return handle(memories_.add(
        Memory::plan(size(info, 0), info[1].As<Napi::Boolean>().Value(), size(info, 2))));
  }

  // (device, memory) -> bytes that the device needs for it
  Value MemoryFootprint(const CallbackInfo& info) {
    const auto& device = devices_.get(integer(info, 0));
    const size_t bytes = device->footprint(*memories_.get(integer(info, 1)));
    return Napi::Number::New(env_, static_cast<double>(bytes));
  }

  Value MemorySize(const CallbackInfo& info) {
    return Napi::Number::New(env_, static_cast<double>(memories_.get(integer(info, 0))->size()));
  }

  // (memory, byteOffset, target)
  void ReadMemory(const CallbackInfo& info) {
    const auto& memory = memories_.get(integer(info, 0));
    Napi::Uint8Array target = bytes(info, 2);
    const std::byte* source = part(*memory, size(info, 1), target.ByteLength());
    check_is_own(*memory);
    if (memory->writers > 0) {
      throw std::runtime_error("a run in flight writes this memory: await it first");
    }
    if (memory->is_mixture) throw std::runtime_error(kMixture);
    if (target.ByteLength() > 0) std::memcpy(target.Data(), source, target.ByteLength());
  }

  // (memory, byteOffset, source)
  void WriteMemory(const CallbackInfo& info) {
    const auto& memory = memories_.get(integer(info, 0));
    Napi::Uint8Array source = bytes(info, 2);
    std::byte* target = part(*memory, size(info, 1), source.ByteLength());
    check_is_own(*memory);
    if (memory->is_mapped_file()) throw std::runtime_error("memory is a read-only file");
    if (memory->writers > 0 || memory->readers > 0) {
      throw std::runtime_error("a run in flight uses this memory: await it first");
    }
    if (source.ByteLength() > 0) std::memcpy(target, source.Data(), source.ByteLength());
    if (source.ByteLength() == memory->size()) memory->is_mixture = false;
  }

  // (memory): nothing of it stays with a GPU until its next use; while runs use it, it does
  void LetGoOfMemory(const CallbackInfo& info) {
    const auto memory = memories_.get(integer(info, 0));
    if (memory->readers == 0 && memory->writers == 0) memory->gpu_views.reset();
  }

  void DisposeMemory(const CallbackInfo& info) {
    const auto memory = memories_.remove(integer(info, 0));
    if (memory->is_mapped_file() || memory->is_run_block() || memory->is_planned()) return;
    Napi::MemoryManagement::AdjustExternalMemory(env_, -static_cast<int64_t>(memory->size()));
  }

  Value CreateList(const CallbackInfo&) {
    return handle(lists_.add(std::make_shared<CommandList>()));
  }

  // (list) -> memory, which only the operations of this list may use
  Value ListBlock(const CallbackInfo& info) {
    return handle(memories_.add(lists_.get(integer(info, 0))->block()));
  }

  // (list, operation number, [memory, byteOffset, byteLength, type, ...], params)
  // Memory 0 stands for an optional buffer that is absent.
  void Record(const CallbackInfo& info) {
    const auto& list = lists_.get(integer(info, 0));
    const size_t kind = size(info, 1);
    if (kind >= operations().size()) throw std::invalid_argument("no such operation");
    if (!info[2].IsArray()) throw std::invalid_argument("bindings must be an array");
    const Napi::Array flat = info[2].As<Napi::Array>();
    const auto number = [&](uint32_t i) {
      const Value value = flat.Get(i);
      if (!value.IsNumber()) throw std::invalid_argument("bindings must be numbers");
      return value.As<Napi::Number>().Int64Value();
    };
    std::vector<Binding> bindings(flat.Length() / 4);
    for (uint32_t i = 0; i < bindings.size(); ++i) {
      const int64_t memory = number(4 * i);
      if (memory == 0) continue;
      const int64_t offset = number(4 * i + 1), length = number(4 * i + 2),
                    type = number(4 * i + 3);
      if (offset < 0 || length < 0 || type < kFloat32 || type > kUInt32) {
        throw std::invalid_argument("a binding is malformed");
      }
      bindings[i] = {memories_.get(memory), static_cast<size_t>(offset),
                     static_cast<size_t>(length), static_cast<DataType>(type)};
    }
    const Napi::Uint8Array params = bytes(info, 3);
    list->add(static_cast<OperationKind>(kind), std::move(bindings), params.Data(),
              params.ByteLength());
  }

  void DisposeList(const CallbackInfo& info) { lists_.remove(integer(info, 0)); }

  // (device, list) -> what the device dispatches for the list
  Value ListDispatches(const CallbackInfo& info) {
    const auto& device = devices_.get(integer(info, 0));
    return Napi::String::New(env_, device->dispatches(*lists_.get(integer(info, 1))));
  }

  // (list) -> { kernel, text, threads }[]
  Value KernelTexts(const CallbackInfo& info) {
    const std::vector<KernelText> texts = kernel_texts(*lists_.get(integer(info, 0)));
    Napi::Array result = Napi::Array::New(info.Env(), texts.size());
    for (uint32_t i = 0; i < texts.size(); ++i) {
      Napi::Object object = Napi::Object::New(info.Env());
      object.Set("kernel", texts[i].kernel);
      object.Set("text", texts[i].text);
      object.Set("threads", texts[i].threads);
      result.Set(i, object);
    }
    return result;
  }

  // (device, list, callback(status, failure)). Returns at once.
  void Prepare(const CallbackInfo& info) {
    const auto& device = devices_.get(integer(info, 0));
    const auto& list = lists_.get(integer(info, 1));
    const int64_t id = next_run_++;
    expect({nullptr, nullptr, Napi::Persistent(info[2].As<Napi::Function>())}, id);
    list->seal();
    device->prepare(list, [completions = completions_, id](RunEnd end) {
      complete(completions, {id, std::move(end), 0});
    });
  }

  // (device, list) -> bytes that the device allocates for the list itself
  Value ListScratch(const CallbackInfo& info) {
    const auto& device = devices_.get(integer(info, 0));
    return Napi::Number::New(env_,
                             static_cast<double>(device->scratch(*lists_.get(integer(info, 1)))));
  }

  // (device, list, inputs, outputBytes, callback(status, failure, outputs)) -> run. Returns at
  // once.
  Value RunList(const CallbackInfo& info) {
    const auto& device = devices_.get(integer(info, 0));
    const auto& list = lists_.get(integer(info, 1));
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
    const int64_t id = next_run_++;
    run->on_complete = [completions = completions_, id](RunEnd end) {
      complete(completions, {id, std::move(end), 0});
    };
    expect({run, list, Napi::Persistent(info[4].As<Napi::Function>())}, id);
    list->mark_submitted();
    device->submit(std::move(run));
    return handle(id);
  }

  // (run): a run that has ended is not an error.
  void Cancel(const CallbackInfo& info) {
    const auto pending = pending_.find(integer(info, 0));
    if (pending != pending_.end() && pending->second.run) pending->second.run->cancelled = true;
  }

  // (threads, bytes, callback(status, failure, bytesPerSecond)). Returns at once.
  void MeasureReadBandwidth(const CallbackInfo& info) {
    const size_t threads = size(info, 0);
    if (threads < 1 || threads > 1024) throw std::invalid_argument("threads must be 1 to 1024");
    const size_t buffer = size(info, 1);
    const int64_t id = next_run_++;
    Pending pending{nullptr, nullptr, Napi::Persistent(info[2].As<Napi::Function>())};
    // Before anything waits for it: it throws when the system starts no more threads.
    const auto on_complete = [completions = completions_, id](double result,
                                                              std::optional<Failure> failure) {
      complete(completions, {id, failure ? RunEnd::fail(*std::move(failure)) : RunEnd{}, result});
    };
    try {
      measurements_.emplace(id, std::make_unique<BandwidthMeasurement>(
                                    static_cast<unsigned>(threads), buffer, on_complete));
    } catch (const std::system_error& error) {
      throw_if_no_more_threads(error);
      throw;
    }
    expect(std::move(pending), id);
  }

  // () -> bytes; 0 where the system has files that say so
  Value AvailableMemory(const CallbackInfo&) {
    return Napi::Number::New(env_, static_cast<double>(available_memory()));
  }

  // From now on a completion with this id calls back, and keeps the process alive until then.
  void expect(Pending pending, int64_t id) {
    pending_.emplace(id, std::move(pending));
    if (pending_.size() == 1) napi_ref_threadsafe_function(env_, completions_);
  }

  // On a thread of ours. Not napi_ok only when the environment is ending.
  static void complete(napi_threadsafe_function completions, Completion completion) {
    auto data = std::make_unique<Completion>(std::move(completion));
    const napi_status status =
        napi_call_threadsafe_function(completions, data.get(), napi_tsfn_nonblocking);
    if (status == napi_ok) data.release();
  }

  // Called by Node on the JavaScript thread for each completion; env is null when it is ending.
  static void Complete(napi_env env, napi_value, void* context, void* data) {
    const std::unique_ptr<Completion> completion(static_cast<Completion*>(data));
    if (env == nullptr) return;
    auto* self = static_cast<Addon*>(context);
    const auto found = self->pending_.find(completion->run);
    if (found == self->pending_.end()) return;
    const Pending pending = std::move(found->second);
    self->pending_.erase(found);
    if (self->pending_.empty()) napi_unref_threadsafe_function(env, self->completions_);
    if (pending.list) note_end(*pending.list, completion->end);
    self->measurements_.erase(completion->run);
    self->report(pending, *completion);
  }

  // What the end of a run means for the memory that it used. Runs end in order, so that one which
  // was in flight behind a run that failed is known to have read what that one left.
  static void note_end(CommandList& list, RunEnd& end) {
    list.mark_finished();
    if (end.status == RunStatus::done && list.reads_a_mixture()) {
      end = {RunStatus::device_failed, {"[run] " + std::string(kMixture)}, {}};
    }
    if (end.status == RunStatus::done || leaves_a_mixture(end.status)) {
      list.mark_written(leaves_a_mixture(end.status));
    }
  }

  // In plain Node-API: when a worker is being terminated these calls fail, and an exception could
  // not be caught by anyone here. What the callback itself throws stays pending and Node reports
  // it.
  void report(const Pending& pending, const Completion& completion) {
    const Napi::HandleScope scope(env_);
    const RunEnd& end = completion.end;
    napi_value global, callback, arguments[3];
    if (napi_get_global(env_, &global) != napi_ok) return;
    if (napi_get_reference_value(env_, pending.callback, &callback) != napi_ok) return;
    if (napi_create_int32(env_, static_cast<int32_t>(end.status), &arguments[0]) != napi_ok) return;
    if (failure_for(end, &arguments[1]) != napi_ok) return;
    if (!pending.list) {
      if (napi_create_double(env_, completion.result, &arguments[2]) != napi_ok) return;
    } else {
      void* bytes = nullptr;
      const size_t length = end.outputs.size();
      if (napi_create_arraybuffer(env_, length, &bytes, &arguments[2]) != napi_ok) return;
      if (length > 0) std::memcpy(bytes, end.outputs.data(), length);
    }
    napi_call_function(env_, global, callback, 3, arguments, nullptr);
  }

  // { reason, operation, message } where something failed, else undefined; no operation is
  // undefined too.
  napi_status failure_for(const RunEnd& end, napi_value* result) const {
    if (!has_failed(end.status)) return napi_get_undefined(env_, result);
    const auto& [message, reason, operation] = end.failure;
    napi_value values[3];
    napi_status status = napi_create_object(env_, result);
    const auto then = [&](auto call) {
      if (status == napi_ok) status = call();
    };
    then([&] { return napi_create_int32(env_, static_cast<int32_t>(reason), &values[0]); });
    then([&] {
      return operation ? napi_create_double(env_, static_cast<double>(*operation), &values[1])
                       : napi_get_undefined(env_, &values[1]);
    });
    then([&] { return napi_create_string_utf8(env_, message.data(), message.size(), &values[2]); });
    constexpr const char* kNames[] = {"reason", "operation", "message"};
    for (size_t i = 0; i < 3; ++i) {
      then([&] { return napi_set_named_property(env_, *result, kNames[i], values[i]); });
    }
    return status;
  }

  // Throws unless a run has the bytes that its list uses, and no more than there may be.
  static void check_block(const char* what, size_t bytes, size_t least, size_t most) {
    if (bytes >= least && bytes <= most) return;
    throw std::out_of_range("[run] the " + std::string(what) + " of this list take " +
                            std::to_string(least) + " to " + std::to_string(most) +
                            " bytes but are " + std::to_string(bytes));
  }

  static void check_is_own(const Memory& memory) {
    if (!memory.is_run_block()) return;
    throw std::runtime_error(
        "inputs and outputs of a run are given to run() and come with its result");
  }

  // What starts a thread throws this at a limit of the system; its own text names no threads.
  void throw_if_no_more_threads(const std::system_error& error) const {
    if (error.code() != std::errc::resource_unavailable_try_again) return;
    Napi::Error thrown = Napi::Error::New(env_, "the system starts no more threads");
    thrown.Set("code", "EAGAIN");
    throw thrown;
  }

  std::byte* part(const Memory& memory, size_t offset, size_t length) {
    if (offset > memory.size() || length > memory.size() - offset) {
      throw std::out_of_range("reaches past the end of its memory");
    }
    if (memory.is_planned()) throw std::logic_error("memory was only planned: it has no bytes");
    return memory.data() + offset;
  }

  Value text(const std::optional<std::string>& value) const {
    if (!value) return env_.Undefined();
    return Napi::String::New(env_, *value);
  }

  Value handle(int64_t value) { return Napi::Number::New(env_, static_cast<double>(value)); }

  Napi::Env env_;
  napi_threadsafe_function completions_ = nullptr;
  HandleTable<Memory> memories_{"memory"};
  HandleTable<CommandList> lists_{"command list"};
  HandleTable<Device> devices_{"device"};
  std::map<int64_t, Pending> pending_;  // runs and measurements not yet reported
  std::map<int64_t, std::unique_ptr<BandwidthMeasurement>> measurements_;
  int64_t next_run_ = 1;
};

NODE_API_ADDON(Addon)

}  // namespace

}  // namespace ssm
