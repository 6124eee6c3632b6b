// Runs dispatches on an NVIDIA GPU: the host's memory is copied there and back around each run.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "cuda_driver.h"
#include "native/metal/program.h"

namespace ssm::gpu {

// The function that compile-kernels.mjs compiles for a kernel with these constants:
// kernel__name_value__name_value. Throws std::runtime_error when the dispatch does not fit the
// kernel's signature.
std::string function_name(const metal::Dispatch& dispatch);

struct Timing {
  double microseconds;  // median of one run of all dispatches
  double least;
  uint32_t copies;  // of all buffers, used in turn
};

class Gpu {
 public:
  // `folder`: *.cubin with the functions of kernels. Throws std::runtime_error.
  explicit Gpu(const std::string& folder);
  ~Gpu();
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  const std::string& name() const { return name_; }

  // For the thread that makes the calls below.
  void make_current();

  // Copies to the GPU what the dispatches use, runs them in order and copies back what they write.
  // `inputs`: memory with contents; every other one is filled with NaN before the run, unless
  // `poison` is off, which lets a checker see what is read before it is written.
  void run(const std::vector<metal::Dispatch>& dispatches,
           const std::vector<std::shared_ptr<Memory>>& inputs, bool poison);

  // Times the dispatches of the last `run` as one graph, from buffers that are not in the cache: as
  // many copies of all of them as fill it several times. Leaves the copies' contents changed.
  Timing time(const std::vector<metal::Dispatch>& dispatches);

  // Gigabytes a second that a copy within the GPU's memory reads and writes together.
  double copy_speed();

 private:
  struct Block {
    std::weak_ptr<Memory> memory;
    Address address = 0;
    size_t bytes = 0;
    bool is_current = false;  // holds the bytes of a mapped file, which never change
  };
  struct Image {
    Module module;
    std::string bytes;  // of the cubin; the driver without a GPU looks at names only, so none
  };
  using Addresses = std::unordered_map<const Memory*, Address>;

  Block& block_of(const std::shared_ptr<Memory>& memory);
  Function function(const std::string& name);
  void launch(const metal::Dispatch& dispatch, const Addresses& addresses);
  double elapsed(GraphExec graph);

  std::string name_;
  Context context_ = nullptr;
  Stream stream_ = nullptr;
  Event start_ = nullptr, end_ = nullptr;
  size_t cache_bytes_ = 0;
  std::vector<Image> images_;
  std::unordered_map<std::string, Function> functions_;
  std::unordered_map<const Memory*, Block> blocks_;
};

}  // namespace ssm::gpu
