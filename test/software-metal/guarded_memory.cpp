// native/memory.cpp for the rig: every block ends at a page that nobody may touch, so that reading
// past the end faults instead of finding a neighbour's bytes.
#include "guarded_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <stdexcept>

#include "native/memory.h"
#include "native/run_block.h"

namespace ssm {

namespace {

constexpr size_t kPage = 4096;
constexpr size_t kAlignment = 16;    // what a kernel's float4 needs
constexpr size_t kGuard = 64 << 20;  // address space on either side; costs nothing

std::atomic<uint64_t> allocation_count{0};

size_t round_up(size_t size, size_t unit) { return (size + unit - 1) / unit * unit; }

[[noreturn]] void fail(const std::string& what, int error) {
  throw std::runtime_error(what + ": " + std::strerror(error));
}

std::shared_ptr<Memory> allocate_guarded(size_t bytes, Memory::Kind kind, size_t largest_part = 0) {
  const size_t pages = round_up(bytes, kPage);
  void* block = mmap(nullptr, kGuard + pages + kGuard, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (block == MAP_FAILED) fail("cannot allocate " + std::to_string(bytes) + " bytes", errno);
  std::byte* begin = static_cast<std::byte*>(block) + kGuard;
  if (mprotect(begin, pages, PROT_READ | PROT_WRITE) != 0) {
    const int error = errno;
    munmap(block, kGuard + pages + kGuard);
    fail("cannot allocate " + std::to_string(bytes) + " bytes", error);
  }
  std::shared_ptr<std::byte> owner(
      begin + pages - round_up(bytes, kAlignment),
      [block, pages](std::byte*) { munmap(block, kGuard + pages + kGuard); });
  return std::make_shared<Memory>(std::move(owner), bytes, kind, largest_part);
}

}  // namespace

std::shared_ptr<Memory> Memory::allocate(size_t bytes) {
  ++allocation_count;
  if (bytes == 0) return std::make_shared<Memory>(nullptr, 0);
  return allocate_guarded(bytes, Kind::allocated);
}

std::shared_ptr<Memory> Memory::allocate_whole(size_t bytes) { return allocate(bytes); }

std::shared_ptr<Memory> Memory::allocate_run_block() {
  return allocate_guarded(kRunBlockBytes, Kind::run_block);
}

std::shared_ptr<Memory> Memory::plan(size_t bytes, bool is_mapped_file, size_t largest_part) {
  return std::make_shared<Memory>(
      nullptr, bytes, is_mapped_file ? Kind::mapped_file : Kind::allocated, largest_part);
}

size_t page_bytes(size_t bytes) { return round_up(bytes, kPage); }

// A copy of the file, so that it ends at a guard too.
std::shared_ptr<Memory> Memory::map_file(const std::string& path, size_t begin, size_t bytes,
                                         size_t largest_part) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) fail(path, errno);
  struct stat info {};
  const int status = fstat(file, &info);
  if (status != 0 || !S_ISREG(info.st_mode) || info.st_size <= 0) {
    close(file);
    throw std::runtime_error(path + ": is empty or not a regular file");
  }
  const size_t end = static_cast<size_t>(info.st_size);
  if (begin % kPage != 0 || begin >= end || bytes > end - begin) {
    close(file);
    throw std::runtime_error(path + ": has no such part");
  }
  const size_t size = bytes == 0 ? end - begin : bytes;
  const std::shared_ptr<Memory> memory = allocate_guarded(size, Kind::mapped_file, largest_part);
  for (size_t done = 0; done < size;) {
    const ssize_t got =
        pread(file, memory->data() + done, size - done, static_cast<off_t>(begin + done));
    if (got <= 0) {
      close(file);
      throw std::runtime_error(path + ": cannot be read");
    }
    done += static_cast<size_t>(got);
  }
  close(file);
  return memory;
}

}  // namespace ssm

uint64_t software_metal::allocations() { return ssm::allocation_count; }
