// The Node-API surface: unwrap arguments, call, wrap results. lib/addon/contract.ts states the
// contract. No other folder knows Node. Everything here runs on the JavaScript thread of its
// environment (the main thread or a worker), except the body of Run::on_complete.
#include "native/addon/exports.h"

namespace ssm {

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  auto* environment = new Environment(env);
  env.SetInstanceData(environment);  // which deletes it when the environment ends
  for (const std::span<const Export> part :
       {device_exports(), memory_exports(), list_exports(), run_exports(), machine_exports()}) {
    for (const auto& [name, function] : part) {
      const auto call = [environment, function = function](const Napi::CallbackInfo& info) {
        return function(*environment, info);
      };
      exports.DefineProperty(
          Napi::PropertyDescriptor::Value(name, Napi::Function::New(env, call, name)));
    }
  }
  return exports;
}

NODE_API_MODULE(ssm, init)

}  // namespace

}  // namespace ssm
