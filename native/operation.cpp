#include "native/operation.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace ssm {

namespace {

// The place of what has this name among `all`.
template <class Info>
size_t place_of(std::span<const Info> all, std::string_view name, const char* what) {
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const Info& each) { return name == each.name; });
  if (found != all.end()) return static_cast<size_t>(found - all.begin());
  throw std::logic_error("there is no " + std::string(what) + " " + std::string(name));
}

}  // namespace

size_t OperationInfo::index_of(std::string_view buffer) const {
  return place_of(buffers, buffer, "buffer");
}

uint32_t Operation::field(std::string_view name) const {
  uint32_t value;
  std::memcpy(&value, param_bytes.data() + 4 * place_of(info().fields, name, "field"), 4);
  return value;
}

}  // namespace ssm
