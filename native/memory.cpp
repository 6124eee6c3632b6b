#include "memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "run_block.h"

namespace ssm {

namespace {

[[noreturn]] void fail(const std::string& what, int error) {
  throw std::runtime_error(what + ": " + std::strerror(error));
}

std::shared_ptr<Memory> memory_of(void* pages, size_t bytes, Memory::Kind kind) {
  std::shared_ptr<std::byte> owner(static_cast<std::byte*>(pages),
                                   [bytes](std::byte* begin) { munmap(begin, bytes); });
  return std::make_shared<Memory>(std::move(owner), bytes, kind);
}

// Anonymous pages come zeroed and page-aligned, cost nothing until touched, and go straight back
// to the system when unmapped; small blocks are rare and waste at most a page.
std::shared_ptr<Memory> allocate_pages(size_t bytes, Memory::Kind kind) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) fail("cannot allocate " + std::to_string(bytes) + " bytes", errno);
  return memory_of(data, bytes, kind);
}

}  // namespace

std::shared_ptr<Memory> Memory::allocate(size_t bytes) {
  if (bytes == 0) return std::make_shared<Memory>(nullptr, 0);
  return allocate_pages(bytes, Kind::allocated);
}

std::shared_ptr<Memory> Memory::allocate_run_block() {
  return allocate_pages(kRunBlockBytes, Kind::run_block);
}

std::shared_ptr<Memory> Memory::map_file(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) fail(path, errno);
  struct stat info {};
  const int status = fstat(file, &info);
  if (status != 0 || !S_ISREG(info.st_mode) || info.st_size <= 0) {
    close(file);
    throw std::runtime_error(path + ": is empty or not a regular file");
  }
  const size_t size = static_cast<size_t>(info.st_size);
  // Shared, so that a GPU that maps the pages in its turn needs no copies of them.
  void* data = mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
  const int error = errno;
  close(file);  // the mapping keeps the file open
  if (data == MAP_FAILED) fail(path + ": cannot map " + std::to_string(size) + " bytes", error);
  return memory_of(data, size, Kind::mapped_file);
}

}  // namespace ssm
