// Command lists: recording them, and what needs no device to be said of them.
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "native/addon/exports.h"
#include "native/addon/values.h"
#include "native/command_list.h"
#include "native/device.h"

namespace ssm {

namespace {

using Napi::CallbackInfo;
using Napi::Value;

// What the headers of metal/ state: an object for each, with what `describe` adds to its name.
template <class Infos, class Describe>
Napi::Array described(const CallbackInfo& info, const Infos& infos, Describe describe) {
  return array_of(info, infos, [&](const auto& each) {
    Napi::Object object = Napi::Object::New(info.Env());
    object.Set("name", each.name);
    describe(each, object);
    return object;
  });
}

// () -> { name, apiName, fields: { name, isFloat }[], buffers: { name, isWritten, isOptional }[]
// }[], in the order of operation numbers
Value all_operations(Environment&, const CallbackInfo& info) {
  const auto field = [](const FieldInfo& field, Napi::Object& object) {
    object.Set("isFloat", field.is_float);
  };
  const auto buffer = [](const BufferInfo& buffer, Napi::Object& object) {
    object.Set("isWritten", is_written(buffer.access));
    object.Set("isOptional", buffer.is_optional);
  };
  return described(info, operations(), [&](const OperationInfo& operation, Napi::Object& object) {
    object.Set("apiName", operation.api_name);
    object.Set("fields", described(info, operation.fields, field));
    object.Set("buffers", described(info, operation.buffers, buffer));
  });
}

// () -> list
Value create(Environment& environment, const CallbackInfo& info) {
  return handle(info, environment.lists().add(std::make_shared<CommandList>()));
}

// (list) -> memory, which only the operations of this list may use
Value block(Environment& environment, const CallbackInfo& info) {
  const auto& list = environment.lists().get(integer(info, 0));
  return handle(info, environment.memories().add(list->block()));
}

// Of [memory, byteOffset, byteLength, type, ...]. Memory 0 stands for an optional buffer that is
// absent.
std::vector<Binding> bindings_from(Environment& environment, const Value& given) {
  if (!given.IsArray()) throw std::invalid_argument("bindings must be an array");
  const Napi::Array flat = given.As<Napi::Array>();
  const auto number = [&](uint32_t i) {
    const Value value = flat.Get(i);
    if (!value.IsNumber()) throw std::invalid_argument("bindings must be numbers");
    return value.As<Napi::Number>().Int64Value();
  };
  std::vector<Binding> bindings(flat.Length() / 4);
  for (uint32_t i = 0; i < bindings.size(); ++i) {
    const int64_t memory = number(4 * i);
    if (memory == 0) continue;
    const int64_t offset = number(4 * i + 1), length = number(4 * i + 2), type = number(4 * i + 3);
    if (offset < 0 || length < 0 || type < kFloat32 || type > kUInt8) {
      throw std::invalid_argument("a binding is malformed");
    }
    bindings[i] = {.memory = environment.memories().get(memory),
                   .offset = static_cast<size_t>(offset),
                   .bytes = static_cast<size_t>(length),
                   .type = static_cast<DataType>(type)};
  }
  return bindings;
}

// (list, operation number, [memory, byteOffset, byteLength, type, ...], params)
Value record(Environment& environment, const CallbackInfo& info) {
  const auto& list = environment.lists().get(integer(info, 0));
  const size_t kind = size(info, 1);
  if (kind >= operations().size()) throw std::invalid_argument("no such operation");
  std::vector<Binding> bindings = bindings_from(environment, info[2]);
  const Napi::Uint8Array params = bytes(info, 3);
  list->add(static_cast<OperationKind>(kind), std::move(bindings), params.Data(),
            params.ByteLength());
  return info.Env().Undefined();
}

// (list)
Value dispose(Environment& environment, const CallbackInfo& info) {
  environment.lists().remove(integer(info, 0));
  return info.Env().Undefined();
}

// (list) -> { kernel, text, threads }[]
Value texts(Environment& environment, const CallbackInfo& info) {
  const auto& list = environment.lists().get(integer(info, 0));
  return array_of(info, kernel_texts(*list), [&](const KernelText& each) {
    Napi::Object object = Napi::Object::New(info.Env());
    object.Set("kernel", each.kernel);
    object.Set("text", each.text);
    object.Set("threads", each.threads);
    return object;
  });
}

}  // namespace

std::span<const Export> list_exports() {
  static constexpr Export kExports[] = {
      {"operations", all_operations}, {"createList", create},
      {"listBlock", block},           {"record", record},
      {"disposeList", dispose},       {"kernelTexts", texts},
  };
  return kExports;
}

}  // namespace ssm
