#include "cuda_driver.h"

#include <dlfcn.h>

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace ssm::gpu {

namespace {

Driver load() {
  const char* given = std::getenv("SSM_GPU_DRIVER");
  const char* path = given != nullptr && *given != '\0' ? given : "libcuda.so.1";
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(dlerror());
  Driver driver;
#define SSM_DRIVER_FUNCTION(name, arguments)                                   \
  driver.name = reinterpret_cast<Result(*) arguments>(dlsym(library, #name));  \
  if (driver.name == nullptr) {                                                \
    throw std::runtime_error(std::string(path) + " has no function " + #name); \
  }
  SSM_DRIVER_FUNCTIONS(SSM_DRIVER_FUNCTION)
#undef SSM_DRIVER_FUNCTION
  return driver;
}

}  // namespace

const Driver& driver() {
  static const Driver loaded = load();
  return loaded;
}

void check(Result result, const char* call) {
  if (result == 0) return;
  const char* name = nullptr;
  driver().cuGetErrorName(result, &name);
  throw std::runtime_error(std::string(call) + " failed: " + (name ? name : "unknown error") +
                           " (" + std::to_string(result) + ")");
}

}  // namespace ssm::gpu
