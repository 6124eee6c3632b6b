// Memory as macOS gives it to the device: in pages of 16 KiB. native/memory.cpp and the device's
// files call these functions under their usual names (CMakeLists.txt renames them).
//
// Every mapping has a guard on either side that nobody may touch, and what its last page has beyond
// the bytes that were asked for is filled with a pattern: NaN for float. On a Mac an access there
// goes unnoticed.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>

extern "C" {
void* stand_in_mmap(void* address, size_t bytes, int protection, int flags, int file,
                    off_t offset) noexcept;
int stand_in_munmap(void* begin, size_t bytes) noexcept;
long stand_in_sysconf(int name) noexcept;
}

namespace metal_stand_in {

// A Mac's.
constexpr size_t kPage = 16 << 10;

// Mappings of memory that were ever made, those of files not counted.
uint64_t allocations();

// Bytes from an address on that belong to its mapping, without the rest of the last page. 0 where
// nothing of ours is mapped.
size_t mapped_bytes(const std::byte* address);

// What has been written behind the end of the mapping that has this address; empty when nothing.
std::string overrun(const std::byte* address);

// While a buffer has memory, it may not be unmapped. Called with the buffer's own range.
void note_buffer(const std::byte* begin, size_t bytes);
void forget_buffer(const std::byte* begin, size_t bytes);

}  // namespace metal_stand_in
