#include "native/memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "native/run_block.h"

namespace ssm {

namespace {

[[noreturn]] void fail(const std::string& what, int error) {
  throw std::runtime_error(what + ": " + std::strerror(error));
}

std::shared_ptr<Memory> memory_of(void* pages, size_t bytes, Memory::Kind kind,
                                  size_t largest_part) {
  std::shared_ptr<std::byte> owner(static_cast<std::byte*>(pages),
                                   [bytes](std::byte* begin) { munmap(begin, bytes); });
  return std::make_shared<Memory>(std::move(owner), bytes, kind, largest_part);
}

// Anonymous pages come zeroed and page-aligned, cost nothing until touched, and go straight back
// to the system when unmapped; small blocks are rare and waste at most a page.
std::shared_ptr<Memory> allocate_pages(size_t bytes, Memory::Kind kind) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) fail("cannot allocate " + std::to_string(bytes) + " bytes", errno);
  return memory_of(data, bytes, kind, bytes);
}

size_t page_size() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

std::shared_ptr<Memory> Memory::allocate(size_t bytes) {
  if (bytes == 0) return std::make_shared<Memory>(nullptr, 0);
  return allocate_pages(bytes, Kind::allocated);
}

std::shared_ptr<Memory> Memory::allocate_whole(size_t bytes) {
  auto memory = allocate(bytes);
#ifdef MADV_HUGEPAGE
  // The first write of 20 MB takes a quarter of the time so. Where the system cannot, nothing is
  // lost.
  if (bytes > 0) madvise(memory->data(), bytes, MADV_HUGEPAGE);
#endif
  return memory;
}

std::shared_ptr<Memory> Memory::allocate_run_block() {
  return allocate_pages(kRunBlockBytes, Kind::run_block);
}

std::shared_ptr<Memory> Memory::plan(size_t bytes, bool is_mapped_file, size_t largest_part) {
  return std::make_shared<Memory>(
      nullptr, bytes, is_mapped_file ? Kind::mapped_file : Kind::allocated, largest_part);
}

std::shared_ptr<Memory> Memory::map_file(const std::string& path, size_t begin, size_t bytes,
                                         size_t largest_part) {
  if (begin % page_size() != 0) {
    throw std::invalid_argument("a mapping must begin at a multiple of " +
                                std::to_string(page_size()) + " bytes, not at " +
                                std::to_string(begin));
  }
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) fail(path, errno);
  struct stat info {};
  const int status = fstat(file, &info);
  if (status != 0 || !S_ISREG(info.st_mode) || info.st_size <= 0) {
    close(file);
    throw std::runtime_error(path + ": is empty or not a regular file");
  }
  const size_t end = static_cast<size_t>(info.st_size);
  if (begin >= end || bytes > end - begin) {
    close(file);
    throw std::runtime_error(path + ": has " + std::to_string(end) + " bytes, too few for the " +
                             std::to_string(bytes) + " from " + std::to_string(begin) +
                             " on: it has changed since it was opened");
  }
  const size_t size = bytes == 0 ? end - begin : bytes;
  // Shared, so that a GPU that maps the pages in its turn needs no copies of them.
  void* data = mmap(nullptr, size, PROT_READ, MAP_SHARED, file, static_cast<off_t>(begin));
  const int error = errno;
  close(file);  // the mapping keeps the file open
  if (data == MAP_FAILED) fail(path + ": cannot map " + std::to_string(size) + " bytes", error);
  return memory_of(data, size, Kind::mapped_file, largest_part);
}

size_t page_bytes(size_t bytes) { return (bytes + page_size() - 1) / page_size() * page_size(); }

}  // namespace ssm
