// A block of bytes that buffers view: allocated and zeroed, or a file mapped read-only.
// Owned by shared_ptr: a command list keeps what it was recorded with alive, so releasing a buffer
// in JavaScript never pulls memory from under a run.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>

namespace ssm {

class Memory {
 public:
  // Zeroed, aligned to a page. Throws std::runtime_error when the system has no more.
  static std::shared_ptr<Memory> allocate(size_t bytes);
  // The whole file, read-only. Throws std::runtime_error with the path and the system's reason.
  static std::shared_ptr<Memory> map_file(const std::string& path);

  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  bool is_mapped_file() const { return mapped_; }

  // Runs submitted and not yet finished that read or write this block. Raised on the JavaScript
  // thread at submission, lowered there at completion: JavaScript may not touch the bytes of a run
  // in flight.
  int readers = 0;
  int writers = 0;

 private:
  Memory(std::byte* data, size_t size, bool mapped) : data_(data), size_(size), mapped_(mapped) {}

  std::byte* data_;
  size_t size_;
  bool mapped_;
};

}  // namespace ssm
