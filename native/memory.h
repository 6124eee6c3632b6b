// A block of bytes that buffers view: allocated and zeroed, a file mapped read-only, or the inputs
// and outputs of a run.
// Owned by shared_ptr: a command list keeps what it was recorded with alive, so releasing a buffer
// in JavaScript never pulls memory from under a run.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

namespace ssm {

class Memory {
 public:
  // Zeroed, aligned to a page. Throws std::runtime_error when the system has no more.
  static std::shared_ptr<Memory> allocate(size_t bytes);
  // The same where all of it will be written at once: the system may give it in pieces larger than
  // pages.
  static std::shared_ptr<Memory> allocate_whole(size_t bytes);
  // `bytes` bytes of a file from `begin` on, read-only; 0 bytes: all of it. No operation reads more
  // than `largest_part` of them in one piece. Throws std::invalid_argument when `begin` is not a
  // multiple of the page, std::runtime_error with the path and the system's reason.
  static std::shared_ptr<Memory> map_file(const std::string& path, size_t begin, size_t bytes,
                                          size_t largest_part);
  // A size without bytes, to record lists that nobody runs: for what a model will need.
  static std::shared_ptr<Memory> plan(size_t bytes, bool is_mapped_file, size_t largest_part);

  // A block for the inputs and outputs of a run: run_block.h.
  static std::shared_ptr<Memory> allocate_run_block();

  enum class Kind { allocated, mapped_file, run_block };

  // Takes pages that were made elsewhere.
  Memory(std::shared_ptr<std::byte> pages, size_t size, Kind kind = Kind::allocated,
         size_t largest_part = 0)
      : pages_(std::move(pages)),
        size_(size),
        kind_(kind),
        largest_part_(largest_part == 0 ? size : largest_part) {}
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  std::byte* data() const { return pages_.get(); }
  // Shared with whatever else must outlive the bytes, such as a GPU's view of them.
  const std::shared_ptr<std::byte>& pages() const { return pages_; }
  size_t size() const { return size_; }
  bool is_mapped_file() const { return kind_ == Kind::mapped_file; }
  bool is_run_block() const { return kind_ == Kind::run_block; }
  bool is_planned() const { return pages_ == nullptr && size_ > 0; }
  // The most bytes that an operation uses in one piece.
  size_t largest_part() const { return largest_part_; }

  // Runs submitted and not yet finished that read or write this block. Raised on the JavaScript
  // thread at submission, lowered there at completion: JavaScript may not touch the bytes of a run
  // in flight.
  int readers = 0;
  int writers = 0;
  // A run that the device did not end may have left it half written: true until it is written
  // whole. JavaScript thread only.
  bool is_mixture = false;

  // What a GPU made of this block since its first use, kept as long as the block. The Metal
  // device's own: nothing else touches it.
  std::shared_ptr<void> gpu_views;

 private:
  std::shared_ptr<std::byte> pages_;  // their deleter returns them to the system
  size_t size_;
  Kind kind_;
  size_t largest_part_;
};

// Bytes of the pages that `bytes` bytes take.
size_t page_bytes(size_t bytes);

}  // namespace ssm
