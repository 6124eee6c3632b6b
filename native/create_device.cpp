// Which devices this build has. The test rig links its own version of this file.
#include <stdexcept>

#include "native/device.h"
#include "native/metal/tuning.h"
#ifdef SSM_WITH_METAL
#include "native/metal/metal_device.h"
#include "native/metal/program.h"
#endif

namespace ssm {

namespace {

bool has_metal() {
#ifdef SSM_WITH_METAL
  static const bool result = has_metal_device();
  return result;
#else
  return false;
#endif
}

}  // namespace

std::vector<std::string> device_names() {
  if (has_metal()) return {"metal", "cpu"};
  return {"cpu"};
}

std::vector<Tunable> tunables() { return metal::tunables(); }

std::unique_ptr<Device> create_device(const std::string& name, unsigned threads,
                                      const TuningValues& tuning, double timeout) {
  if (name == "cpu") return create_cpu_device(threads);
#ifdef SSM_WITH_METAL
  if (name == "metal" && has_metal()) return create_metal_device(tuning, timeout);
#endif
  (void)tuning, (void)timeout;
  throw std::invalid_argument("this build has no device '" + name + "'");
}

std::vector<KernelText> kernel_texts(const CommandList& list) {
#ifdef SSM_WITH_METAL
  return metal::kernel_texts(list, {});
#else
  (void)list;
  throw std::runtime_error("this build has no Metal kernels");
#endif
}

}  // namespace ssm
