// Which devices this build has. The test rig links its own version of this file.
#include <stdexcept>

#include "device.h"

namespace ssm {

std::vector<std::string> device_names() { return {"cpu"}; }

std::unique_ptr<Device> create_device(const std::string& name, unsigned threads) {
  if (name == "cpu") return create_cpu_device(threads);
  throw std::invalid_argument("this build has no device '" + name + "'");
}

}  // namespace ssm
