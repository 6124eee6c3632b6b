// The functions that JavaScript calls: each file of this folder has a table of its own, and
// addon.cpp defines them all. lib/addon/contract.ts states what they take and give.
#pragma once

#include <napi.h>

#include <span>

#include "native/addon/environment.h"

namespace ssm {

struct Export {
  const char* name;
  // What it throws becomes an Error in JavaScript.
  Napi::Value (*function)(Environment& environment, const Napi::CallbackInfo& info);
};

std::span<const Export> device_exports();
std::span<const Export> memory_exports();
std::span<const Export> list_exports();
std::span<const Export> run_exports();
std::span<const Export> machine_exports();

}  // namespace ssm
