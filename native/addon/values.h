// Arguments and results of the functions that JavaScript calls.
#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>

namespace ssm {

inline int64_t integer(const Napi::CallbackInfo& info, size_t i) {
  if (!info[i].IsNumber()) throw std::invalid_argument("argument must be a number");
  return info[i].As<Napi::Number>().Int64Value();
}

inline size_t size(const Napi::CallbackInfo& info, size_t i) {
  const int64_t value = integer(info, i);
  if (value < 0) throw std::invalid_argument("argument must not be negative");
  return static_cast<size_t>(value);
}

inline Napi::Uint8Array bytes(const Napi::CallbackInfo& info, size_t i) {
  if (!info[i].IsTypedArray() ||
      info[i].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    throw std::invalid_argument("argument must be a Uint8Array");
  }
  return info[i].As<Napi::Uint8Array>();
}

inline Napi::FunctionReference callback(const Napi::CallbackInfo& info, size_t i) {
  return Napi::Persistent(info[i].As<Napi::Function>());
}

inline Napi::Value number(const Napi::CallbackInfo& info, double value) {
  return Napi::Number::New(info.Env(), value);
}

inline Napi::Value handle(const Napi::CallbackInfo& info, int64_t value) {
  return number(info, static_cast<double>(value));
}

// Undefined where there is none.
inline Napi::Value text(const Napi::CallbackInfo& info, const std::optional<std::string>& value) {
  if (!value) return info.Env().Undefined();
  return Napi::String::New(info.Env(), *value);
}

// An array of what `value` makes of each.
template <class Values, class MakeValue>
Napi::Array array_of(const Napi::CallbackInfo& info, const Values& values, MakeValue value) {
  Napi::Array result = Napi::Array::New(info.Env());
  for (const auto& each : values) result.Set(result.Length(), value(each));
  return result;
}

// What starts a thread throws this at a limit of the system; its own text names no threads.
inline void throw_if_no_more_threads(const Napi::CallbackInfo& info,
                                     const std::system_error& error) {
  if (error.code() != std::errc::resource_unavailable_try_again) return;
  Napi::Error thrown = Napi::Error::New(info.Env(), "the system starts no more threads");
  thrown.Set("code", "EAGAIN");
  throw thrown;
}

}  // namespace ssm
