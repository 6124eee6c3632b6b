#include "native/addon/environment.h"

#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

#include "native/addon/mixture.h"

namespace ssm {

namespace {

// What the end of a run means for the memory that it used. Runs end in order, so that one which was
// in flight behind a run that failed is known to have read what that one left.
void note_end(CommandList& list, RunEnd& end) {
  list.mark_finished();
  if (end.status == RunStatus::done && list.reads_a_mixture()) {
    end = RunEnd::fail({"[run] " + std::string(kMixture)}, RunStatus::device_failed);
  }
  if (end.status == RunStatus::done || leaves_a_mixture(end.status)) {
    list.mark_written(leaves_a_mixture(end.status));
  }
}

}  // namespace

Environment::Environment(Napi::Env env) : env_(env) {
  const napi_status status = napi_create_threadsafe_function(
      env, nullptr, nullptr, Napi::String::New(env, "ssm-metal"), 0, 1, nullptr, nullptr, this,
      &Environment::complete, &completions_);
  if (status != napi_ok) throw std::runtime_error("cannot create a thread-safe function");
  napi_unref_threadsafe_function(env, completions_);
  // Hooks run in reverse order: this one, which joins our threads, before the one with which Node
  // closes the thread-safe function that they call.
  env.AddCleanupHook([this] {
    for (auto& [id, pending] : pending_) pending.measurement.reset();
    devices_.clear();
  });
}

// Not napi_ok only when the environment is ending.
Environment::End Environment::end_of(int64_t id) const {
  return [completions = completions_, id](RunEnd end, double result) {
    auto data =
        std::make_unique<Completion>(Completion{.id = id, .end = std::move(end), .result = result});
    const napi_status status =
        napi_call_threadsafe_function(completions, data.get(), napi_tsfn_nonblocking);
    if (status == napi_ok) data.release();
  };
}

void Environment::expect(int64_t id, Pending pending) {
  pending_.emplace(id, std::move(pending));
  if (pending_.size() == 1) napi_ref_threadsafe_function(env_, completions_);
}

void Environment::cancel(int64_t id) {
  const auto pending = pending_.find(id);
  if (pending != pending_.end() && pending->second.run) pending->second.run->cancelled = true;
}

// Called by Node on the JavaScript thread for each completion; env is null when it is ending.
void Environment::complete(napi_env env, napi_value, void* context, void* data) {
  const std::unique_ptr<Completion> completion(static_cast<Completion*>(data));
  if (env == nullptr) return;
  auto* self = static_cast<Environment*>(context);
  const auto found = self->pending_.find(completion->id);
  if (found == self->pending_.end()) return;
  Pending pending = std::move(found->second);
  self->pending_.erase(found);
  if (self->pending_.empty()) napi_unref_threadsafe_function(env, self->completions_);
  if (pending.list) note_end(*pending.list, completion->end);
  pending.measurement.reset();
  self->report(pending, *completion);
}

// In plain Node-API: when a worker is being terminated these calls fail, and an exception could not
// be caught by anyone here. What the callback itself throws stays pending and Node reports it.
void Environment::report(const Pending& pending, const Completion& completion) const {
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
napi_status Environment::failure_for(const RunEnd& end, napi_value* result) const {
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

}  // namespace ssm
