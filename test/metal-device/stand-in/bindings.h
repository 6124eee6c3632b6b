// What the device's dispatch code says of its arguments and Metal's API does not carry: where each
// one ends, and whether it is written. Without it, an access outside of a tensor that is part of a
// larger memory would go unnoticed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace metal_stand_in {

// Bytes of the argument of a dispatch that begins at an address, as a program says that has been
// made; 0 when none does.
size_t argument_bytes(const std::string& kernel, uint32_t index, const std::byte* begin,
                      size_t offset, const std::vector<std::byte>& params);

}  // namespace metal_stand_in
